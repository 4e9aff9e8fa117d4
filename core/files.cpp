#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace ashlar {
namespace {

constexpr const char* kToFolder = "cannot write to folder ";
constexpr const char* kNoFile = ": it is a device, pipe or socket; choose a file";

std::string reason(int error) { return std::generic_category().message(error); }

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::string_view write_remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "; free some space or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS: return "; choose a folder that may be written to";
    case ENOENT: return "; make the folder first";
    default: return "";
  }
}

// Whether a failure says that the path is a bad one, and not that the disk is full or broken.
bool blames_path(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ENXIO:
    case ELOOP: return true;
    default: return false;
  }
}

[[noreturn]] void throw_failure(const char* what, const std::filesystem::path& path, int error, std::string_view remedy = "") {
  const std::string text = concat(what, path.string(), ": ", reason(error), remedy);
  if (blames_path(error)) throw InputError(text);
  throw Error(text);
}
[[noreturn]] void throw_folder_error(const std::filesystem::path& folder, int error) {
  throw_failure(kToFolder, folder, error, write_remedy(error));
}

// What a path names in the end: writing to a symbolic link replaces what it points to, not the link.
std::filesystem::path target_of(std::filesystem::path path) {
  std::error_code ignored;
  const auto type = std::filesystem::status(path, ignored).type();
  if (type == std::filesystem::file_type::directory) throw_write_error(path, EISDIR);
  const bool replaceable = type == std::filesystem::file_type::regular || !std::filesystem::exists(path, ignored);
  ASHLAR_CHECK(replaceable, "cannot write ", path.string(), kNoFile);
  for (int links = 0; std::filesystem::is_symlink(path, ignored); ++links) {
    if (links == 40) throw_write_error(path, ELOOP);
    path = folder_of(path) / std::filesystem::read_symlink(path, ignored);
  }
  return path;
}

// Why a folder cannot be written to; 0 if it can.
int write_obstacle(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) return ENOTDIR;
  return ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

// The directory entry itself must reach the disk too, or a crash could undo the rename. File systems that cannot
// flush a folder say EINVAL; there is nothing better to do on them.
int flush_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno == EACCES ? 0 : errno;
  const int error = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  ::close(descriptor);
  return error;
}

// Opens `path` for writing by this process alone; -1 with errno set on failure: EBUSY if another one holds it. A link
// is not followed, a pipe not waited for.
int open_locked(const std::filesystem::path& path) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor < 0) return -1;
    int error = 0;
    struct stat opened {}, named {};
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      error = EBUSY;
    } else if (::fstat(descriptor, &opened) != 0) {
      error = errno;
    } else if (::stat(path.c_str(), &named) != 0 || opened.st_ino != named.st_ino) {
      // Between open and lock another writer renamed this file into its place: start again with a new one.
      ::close(descriptor);
      continue;
    } else if (::ftruncate(descriptor, 0) != 0) {  // it refuses what is no file
      error = errno;
    }
    if (error == 0) return descriptor;
    ::close(descriptor);
    errno = error;
    return -1;
  }
}

}  // namespace

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer is not waited for
  if (descriptor_ < 0) throw_failure("cannot read ", path_, errno);
  struct stat status {};
  std::string why;
  if (::fstat(descriptor_, &status) != 0) why = ": " + reason(errno);
  else if (S_ISDIR(status.st_mode)) why = ": " + reason(EISDIR);
  else if (!S_ISREG(status.st_mode)) why = kNoFile;
  if (!why.empty()) {
    ::close(descriptor_);
    throw InputError(concat("cannot read ", path_.string(), why));
  }
  size_ = static_cast<std::size_t>(status.st_size);
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

void InputFile::read(std::size_t offset, void* target, std::size_t bytes) const {
  auto* next = static_cast<std::byte*>(target);
  std::size_t left = bytes;
  while (left > 0) {
    const ssize_t got = ::pread(descriptor_, next, left, static_cast<off_t>(offset + bytes - left));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_failure("cannot read ", path_, errno);
    if (got == 0) {
      throw InputError(concat("cannot read ", path_.string(), ": it ends at byte ", offset + bytes - left, ", ", left,
                              " bytes too early"));
    }
    next += got;
    left -= static_cast<std::size_t>(got);
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(target_of(path)), temporary_(path_) {
  temporary_ += ".tmp";
  descriptor_ = open_locked(temporary_);
  if (descriptor_ >= 0) return;
  const int error = errno;
  ASHLAR_CHECK(error != EBUSY, "cannot write ", path_.string(), ": another process is writing it");
  std::error_code ignored;
  const auto there = std::filesystem::symlink_status(temporary_, ignored);
  ASHLAR_CHECK(!std::filesystem::exists(there) || std::filesystem::is_regular_file(there), "cannot write ", path_.string(), ": ",
               temporary_.string(), ", which would hold the bytes until they are complete, is no file; remove it");
  fail(error);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* next = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, next, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail(errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  // Closing gives up the lock, so it comes after the rename. After a successful fsync it has nothing left to report.
  ::close(std::exchange(descriptor_, -1));
  if (const int error = flush_folder(folder_of(path_))) fail(error);
}

void AtomicFile::fail(int error) {
  if (descriptor_ >= 0) {
    ::unlink(temporary_.c_str());
    ::close(std::exchange(descriptor_, -1));
  }
  throw_write_error(path_, error);
}

void throw_write_error(const std::filesystem::path& path, int error) {
  throw_failure("cannot write ", path, error, write_remedy(error));
}

std::string read_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string text(file.size(), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void make_writable_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (const int failure = error ? error.value() : write_obstacle(folder)) throw_folder_error(folder, failure);
}

void check_writable_folder(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::path above = folder;
  while (!std::filesystem::exists(above, ignored) && above != folder_of(above)) above = folder_of(above);
  if (const int failure = write_obstacle(above)) throw_folder_error(folder, failure);
}

FolderLock::FolderLock(const std::filesystem::path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw_folder_error(folder, errno);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw InputError(concat(kToFolder, folder.string(),
                          ": another program is at work in it; wait for its end or choose another folder"));
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace ashlar
