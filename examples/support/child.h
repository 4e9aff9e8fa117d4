// Other programs, run one at a time.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace ashlar::support {

// The text as one word of a command that is pasted into a shell: in quotes where it needs them.
std::string shell_word(const std::string& text);

// Runs command[0], looked for as a shell would, with the rest as its arguments, and waits for its end: its exit code, or
// 128 plus the signal that ended it. What it prints replaces the file `log`. Meanwhile `tick` is called twenty times a
// second, and a signal that SignalGuard has noted is passed on. InputError if there is no such program.
int run_child(const std::vector<std::string>& command, const std::filesystem::path& log, const std::function<void()>& tick);

}  // namespace ashlar::support
