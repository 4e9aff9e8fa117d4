#include "examples/support/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "examples/support/run_limits.h"

namespace ashlar::support {
namespace {

// How a child starts: with both outputs in a file, and in a group of its own, so that Ctrl-C reaches this program alone,
// which passes it on once. (A second signal would end a training at once.)
class Start {
 public:
  explicit Start(const std::filesystem::path& log) {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    ::posix_spawnattr_setpgroup(&attributes, 0);
  }
  ~Start() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

}  // namespace

std::string shell_word(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

int run_child(const std::vector<std::string>& command, const std::filesystem::path& log, const std::function<void()>& tick) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const Start start(log);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, arguments[0], &start.files, &start.attributes, arguments.data(), environ);
  ASHLAR_CHECK(error == 0, "cannot run ", command[0], " with its output in ", log.string(), ": ", std::strerror(error));

  bool told = false;
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(child, &status, WNOHANG)) == 0) {
    if (SignalGuard::received() && !told) told = ::kill(child, SIGTERM) == 0;
    tick();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (ended != child) throw Error(concat(command[0], ": how it ended is not known: ", std::strerror(errno)));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace ashlar::support
