// Files that are replaced whole or not at all.
#include "core/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/nobody.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

// While alive, a file of this process cannot grow beyond `bytes`: what a full disk looks like to a writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limited{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit old_{};
};

}  // namespace

TEST_CASE("a written file is read back, with any bytes in it") {
  const TemporaryFolder folder;
  const std::string text("a\0b\xff\n", 5);
  write_file(folder / "file", text);
  CHECK(read_file(folder / "file") == text);
  write_file(folder / "file", "");
  CHECK(read_file(folder / "file").empty());
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a relative path without a folder is written beside the program") {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file("file", "text");
  std::filesystem::current_path(before);
  CHECK(read_file(folder / "file") == "text");
}

TEST_CASE("reading a file that is missing, a folder or too short names it and says why") {
  const TemporaryFolder folder;
  const std::string missing = error_of([&] { read_file(folder / "missing"); });
  CHECK(contains(missing, (folder / "missing").string()));
  CHECK(contains(missing, "No such file"));
  CHECK(contains(error_of([&] { read_file(folder.path()); }), "directory"));

  write_file(folder / "short", "12345");
  const InputFile file(folder / "short");
  char target[8];
  CHECK(contains(error_of([&] { file.read(2, target, 4); }), "1 bytes too early"));
  file.read(2, target, 3);
  CHECK(std::string(target, 3) == "345");
}

TEST_CASE("an uncommitted file leaves the old one and no temporary") {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  {
    AtomicFile file(folder / "file");
    file.write("new, but never finished");
    CHECK(read_file(folder / "file") == "old");
  }
  CHECK(read_file(folder / "file") == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("what a killed writer left behind is replaced, not continued") {
  const TemporaryFolder folder;
  std::ofstream(folder / "file.tmp") << "the longer beginning of another file";
  write_file(folder / "file", "short");
  CHECK(read_file(folder / "file") == "short");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a disk that fills up while writing leaves the old file and no temporary") {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  std::string message;
  {
    const FileSizeLimit limit(1 << 16);
    // Not the user's fault: an Error, but no InputError.
    try {
      write_file(folder / "file", std::string(1 << 20, 'x'));
    } catch (const InputError&) {
    } catch (const Error& error) {
      message = error.what();
    }
  }
  CHECK(contains(message, "cannot write " + (folder / "file").string()));
  CHECK(contains(message, "File too large"));
  CHECK(read_file(folder / "file") == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a file that cannot take its place is an error and leaves no temporary") {
  const TemporaryFolder folder;
  AtomicFile file(folder / "file");
  file.write("x");
  std::filesystem::create_directory(folder / "file");
  CHECK(contains(error_of([&] { file.commit(); }), "cannot write " + (folder / "file").string() + ": Is a directory"));
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("writing into a missing folder says so") {
  const TemporaryFolder folder;
  const std::string message = error_of([&] { write_file(folder / "none/file", "x"); });
  CHECK(contains(message, "none/file"));
  CHECK(contains(message, "make the folder first"));
}

TEST_CASE("two writers of one file: the second is refused, the first finishes") {
  const TemporaryFolder folder;
  AtomicFile first(folder / "file");
  first.write("first");
  CHECK(contains(error_of([&] { AtomicFile second(folder / "file"); }), "another process is writing it"));
  first.commit();
  CHECK(read_file(folder / "file") == "first");
}

TEST_CASE("a writer killed at any moment leaves a whole file, old or new, and the next writer goes on") {
  const TemporaryFolder folder;
  const std::string a(3 << 20, 'a'), b(3 << 20, 'b');
  write_file(folder / "file", a);
  for (int trial = 0; trial < 12; ++trial) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) {
        write_file(folder / "file", b);
        write_file(folder / "file", a);
      }
    }
    ::usleep(static_cast<useconds_t>(1000 + 1700 * trial));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string text = read_file(folder / "file");
    REQUIRE((text == a || text == b));
  }
  write_file(folder / "file", "after");
  CHECK(read_file(folder / "file") == "after");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a folder that cannot be made or written to is refused before any work is done") {
  const TemporaryFolder folder;
  make_writable_folder(folder / "a/b/c");
  CHECK(std::filesystem::is_directory(folder / "a/b/c"));
  make_writable_folder(folder / "a/b/c");

  write_file(folder / "file", "x");
  CHECK(contains(error_of([&] { make_writable_folder(folder / "file"); }), "cannot write to folder"));
  CHECK(contains(error_of([&] { make_writable_folder(folder / "file/below"); }), "file/below"));
  CHECK(contains(error_of([&] { make_writable_folder(folder / std::string(300, 'x')); }), "File name too long"));
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder / "a", std::filesystem::perms(0555));
  as_nobody([&] {
    CHECK(contains(error_of([&] { make_writable_folder(folder / "a"); }), "may be written to"));
    CHECK(contains(error_of([&] { write_file(folder / "a/x", "x"); }), "may be written to"));
  });
  std::filesystem::permissions(folder / "a", std::filesystem::perms(0700));
}

TEST_CASE("a folder that may be written to but not listed takes files") {
  const TemporaryFolder folder;
  make_writable_folder(folder / "a");
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder / "a", std::filesystem::perms(0333));
  as_nobody([&] {
    CHECK(error_of<Error>([&] { write_file(folder / "a/x", "text"); }).empty());
    CHECK(read_file(folder / "a/x") == "text");
  });
  std::filesystem::permissions(folder / "a", std::filesystem::perms(0700));
}

TEST_CASE("where a folder cannot be written to is told without making anything") {
  const TemporaryFolder folder;
  check_writable_folder(folder / "a/b/c");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const std::string relative = error_of([] { check_writable_folder("relative/and/not/there"); });
  std::filesystem::current_path(before);
  CHECK(relative.empty());
  CHECK(files_in(folder.path()) == 0);
  write_file(folder / "file", "x");
  CHECK(contains(error_of([&] { check_writable_folder(folder / "file/below/it"); }), "file/below/it: Not a directory"));
}

TEST_CASE("a folder is held by one at a time, and free again when its holder is killed") {
  const TemporaryFolder folder;
  const auto held = [&] { return error_of([&] { FolderLock lock(folder.path()); }); };
  {
    FolderLock first(folder.path());
    CHECK(contains(held(), folder.path().string() + ": another program is at work in it"));
    const FolderLock moved(std::move(first));
    CHECK_FALSE(held().empty());
  }
  CHECK(held().empty());
  CHECK(files_in(folder.path()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    write_file(folder / "ready", "");
    for (;;) ::pause();
  }
  for (int wait = 0; wait < 1000 && !std::filesystem::exists(folder / "ready"); ++wait) ::usleep(10'000);
  CHECK_FALSE(held().empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(held().empty());
  CHECK(contains(error_of([&] { FolderLock lock(folder / "missing"); }), "make the folder first"));
}

TEST_CASE("a pipe is neither read as an empty file nor waited for, whether anybody writes to it or not") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const bool written : {false, true}) {
    const int end = written ? ::open((folder / "pipe").c_str(), O_RDWR) : -1;
    if (written) REQUIRE(::write(end, "{}", 2) == 2);
    CHECK(contains(error_of([&] { read_file(folder / "pipe"); }), "pipe: it is a device, pipe or socket"));
    if (written) ::close(end);
  }
}

TEST_CASE("what lies in the temporary file's place and is no file stays as it is") {
  const TemporaryFolder folder;
  write_file(folder / "other", "precious");
  std::filesystem::create_symlink("other", folder / "link.tmp");
  std::filesystem::create_symlink("nowhere", folder / "dangling.tmp");
  REQUIRE(::mkfifo((folder / "pipe.tmp").c_str(), 0600) == 0);
  std::filesystem::create_directory(folder / "folder.tmp");
  for (const std::string name : {"link", "dangling", "pipe", "folder"}) {
    const std::string message = error_of([&] { write_file(folder / name, "x"); });
    CHECK(contains(message, "cannot write " + (folder / name).string()));
    CHECK(contains(message, name + ".tmp, which would hold the bytes until they are complete, is no file; remove it"));
  }
  const int reader = ::open((folder / "pipe.tmp").c_str(), O_RDONLY | O_NONBLOCK);
  CHECK(contains(error_of([&] { write_file(folder / "pipe", "x"); }), "is no file; remove it"));
  ::close(reader);
  CHECK(read_file(folder / "other") == "precious");
  CHECK(files_in(folder.path()) == 5);
}

TEST_CASE("a pipe and a folder are not replaced by a file") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("pipe", folder / "link");
  for (const char* name : {"pipe", "link"}) {
    CHECK(contains(error_of([&] { write_file(folder / name, "x"); }), concat(name, ": it is a device, pipe or socket")));
  }
  CHECK(std::filesystem::is_fifo(folder / "pipe"));
  CHECK(contains(error_of([&] { write_file(folder.path(), "x"); }), "Is a directory"));
  CHECK(files_in(folder.path()) == 2);
}

TEST_CASE("writing to a symbolic link replaces what it points to") {
  const TemporaryFolder folder;
  make_writable_folder(folder / "a");
  write_file(folder / "a/file", "old");
  std::filesystem::create_symlink("a/file", folder / "link");
  std::filesystem::create_symlink(folder / "link", folder / "second");
  write_file(folder / "second", "new");
  CHECK(read_file(folder / "a/file") == "new");
  CHECK(std::filesystem::is_symlink(folder / "second"));
  CHECK(std::filesystem::is_symlink(folder / "link"));
  std::filesystem::create_symlink("a/other", folder / "dangling");
  write_file(folder / "dangling", "made");
  CHECK(read_file(folder / "a/other") == "made");
  for (int i = 1; i <= 5; ++i) std::filesystem::create_symlink(concat("chain", i - 1), folder / concat("chain", i));
  write_file(folder / "chain5", "five links on");
  CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(folder / "chain0")));
  std::filesystem::create_symlink("loop", folder / "loop");
  CHECK(contains(error_of([&] { write_file(folder / "loop", "x"); }), "symbolic links"));
}
