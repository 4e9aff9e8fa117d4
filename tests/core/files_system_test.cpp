// What writing a file asks of the system, and what it makes of the answers: of fsync, which no other test would miss, and of flock,
// before which another writer may come.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "core/files.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// Asked in place of the system, by this thread: the errno to fail with, 0 to succeed.
thread_local std::function<int(bool of_folder)> on_fsync;
// Called once, before the lock is taken.
thread_local std::function<void()> before_flock;

struct Undisturbed {
  ~Undisturbed() { on_fsync = nullptr, before_flock = nullptr; }
};

}  // namespace

// In place of those of the C library, in this program only.
extern "C" int fsync(int descriptor) {
  if (!on_fsync) return static_cast<int>(::syscall(SYS_fsync, descriptor));
  struct stat status {};
  ::fstat(descriptor, &status);
  errno = on_fsync(S_ISDIR(status.st_mode));
  return errno == 0 ? 0 : -1;
}

extern "C" int flock(int descriptor, int operation) noexcept {
  if (const auto call = std::exchange(before_flock, nullptr)) call();
  return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
}

TEST_CASE("a file is on the disk before it takes its place, and its place in the folder after") {
  const TemporaryFolder folder;
  const Undisturbed at_end;
  std::string asked;
  on_fsync = [&](bool of_folder) {
    asked += concat(of_folder ? "folder" : "file", std::filesystem::exists(folder / "file") ? " after, " : " before, ");
    return 0;
  };
  write_file(folder / "file", "text");
  CHECK(asked == "file before, folder after, ");
}

TEST_CASE("a disk that is full or broken when the file is flushed leaves the old one, and says what to do") {
  const TemporaryFolder folder;
  const Undisturbed at_end;
  write_file(folder / "file", "old");
  const auto error = [&](int failure, bool of_folder) {
    on_fsync = [=](bool folder_asked) { return folder_asked == of_folder ? failure : 0; };
    const std::string text = error_of<Error>([&] { write_file(folder / "file", "new"); });
    on_fsync = nullptr;
    CHECK_FALSE(std::filesystem::exists(folder / "file.tmp"));
    return text;
  };
  for (const int full : {ENOSPC, EDQUOT}) CHECK(contains(error(full, false), "; free some space or choose another folder"));
  CHECK(contains(error(EIO, false), "cannot write " + (folder / "file").string() + ": Input/output error"));
  CHECK(read_file(folder / "file") == "old");
  CHECK(contains(error(EIO, true), "Input/output error"));
  CHECK(error(EINVAL, true).empty());  // of a file system that cannot flush folders
  CHECK(read_file(folder / "file") == "new");
}

TEST_CASE("a writer that was overtaken between opening and locking begins anew") {
  const bool by_two = GENERATE(false, true);  // who ends, and who has begun since
  const TemporaryFolder folder;
  const Undisturbed at_end;
  before_flock = [&] {
    folder.write("file.tmp", "of another");
    std::filesystem::rename(folder / "file.tmp", folder / "file");
    if (by_two) folder.write("file.tmp", "of a third, which was killed");
  };
  AtomicFile file(folder / "file");
  CHECK(read_file(folder / "file") == "of another");
  file.write("own");
  CHECK(read_file(folder / "file") == "of another");
  file.commit();
  CHECK(read_file(folder / "file") == "own");
  CHECK_FALSE(std::filesystem::exists(folder / "file.tmp"));
}
