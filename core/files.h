// Whole-file reading, and writing that either finishes or leaves what was there.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace ashlar {

// An open file for reading at any offset. Reading with pread rather than mapping: a file that another program
// shortens gives an error here instead of a signal.
class InputFile {
 public:
  // InputError naming the file and the reason; also for a folder, device, pipe or socket.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return size_; }
  // InputError if the file has fewer than offset + bytes bytes.
  void read(std::size_t offset, void* target, std::size_t bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
};

// A file that appears at `path` only when commit() has succeeded: the bytes go to `path`.tmp in the same folder,
// which is flushed to the disk and renamed. Until then, whatever happens — an exception, a full disk, kill -9 — the
// old file stays. Every failure is that of throw_write_error() and removes the temporary file; one that a killed process
// left behind is replaced by the next writer. Symbolic links are followed, but at `path`.tmp, where they may
// lead to anything; InputError for a device, pipe or socket.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail(int error);

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view text);  // atomically

// For a write that failed with this errno: InputError if the path is at fault (no such folder, no permission), Error if
// the disk is (full, broken). Names the file, the reason and the remedy.
[[noreturn]] void throw_write_error(const std::filesystem::path& path, int error);

// Makes the folder and its parents; fails like throw_write_error() if it cannot be made or cannot be written to.
void make_writable_folder(const std::filesystem::path& folder);
// The same errors where they can be foreseen, without making anything.
void check_writable_folder(const std::filesystem::path& folder);

// While alive, the folder belongs to this object: another one for it, in any process, is an InputError. The kernel keeps
// the lock and drops it with the process, however that ends; no file is left. A file system that cannot lock folders
// (NFS) lets everybody in.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace ashlar
