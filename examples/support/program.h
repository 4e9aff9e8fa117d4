// The frame of a main function.
#pragma once
#include <functional>

namespace ashlar::support {

// Calls body(argc, argv) and gives the exit code: 0; 2 after an InputError (bad usage, bad input); 1 after any other
// exception, or if standard output did not take all that was printed, unless its reader has gone. An error is one line on
// stderr: "program: what, where, remedy". A program that has stopped in order because of a signal ends by that signal.
int run_program(int argc, char** argv, const std::function<void(int, char**)>& body);

}  // namespace ashlar::support
