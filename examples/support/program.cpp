#include "examples/support/program.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>

#include "core/error.h"
#include "examples/support/run_limits.h"

namespace ashlar::support {
namespace {

void print_error(const char* program, std::string text) {
  std::ranges::replace(text, '\n', ' ');
  std::fflush(stdout);
  std::fprintf(stderr, "%s: %s\n", std::filesystem::path(program).filename().c_str(), text.c_str());
}

// Fails if some of the output is lost. A reader that has gone (| head, a closed terminal) has missed nothing that it wants.
void check_output() {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout) return;
  pollfd output{STDOUT_FILENO, 0, 0};
  if (::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0) return;
  throw Error("cannot write all of the output; free some space or send it elsewhere");
}

}  // namespace

int run_program(int argc, char** argv, const std::function<void(int, char**)>& body) {
  const char* program = argc > 0 ? argv[0] : "program";
  try {
    SignalGuard::forget();
    body(argc, argv);
    check_output();
    SignalGuard::end_by_noted();
    return 0;
  } catch (const InputError& error) {
    print_error(program, error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    print_error(program, "out of memory; use a smaller batch, context or model");
    return 1;
  } catch (const std::exception& error) {
    print_error(program, error.what());
    return 1;
  }
}

}  // namespace ashlar::support
