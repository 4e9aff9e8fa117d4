// Other programs, as tradeoff runs them.
#include "examples/support/child.h"

#include <signal.h>

#include "core/files.h"
#include "examples/support/run_limits.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

TEST_CASE("a child's end is known and what it prints is kept") {
  const TemporaryFolder folder;
  const auto log = folder / "log.txt";
  int ticks = 0;
  const auto run = [&](const std::string& script) { return run_child({"sh", "-c", script, "a name"}, log, [&] { ++ticks; }); };
  CHECK(run("echo out; echo $0 >&2; exit 3") == 3);
  CHECK(read_file(log) == "out\na name\n");
  CHECK(run("true") == 0);
  CHECK(read_file(log).empty());
  CHECK(run("kill -KILL $$") == 128 + SIGKILL);
  ticks = 0;
  CHECK(run("sleep 0.3") == 0);
  CHECK(ticks >= 2);
  CHECK(contains(error_of([&] { run_child({"no-such-program"}, log, [] {}); }), "cannot run no-such-program with its output in"));
  CHECK(contains(error_of([&] { run_child({"true"}, folder / "x" / "log", [] {}); }), "No such file"));
}

TEST_CASE("a text in a printed command is one word, in quotes where it needs them") {
  CHECK(shell_word("runs/vit-a_1/model.safetensors") == "runs/vit-a_1/model.safetensors");
  const TemporaryFolder folder;
  const auto log = folder / "log.txt";
  for (const std::string text : {"", "my runs/a", "it's", "$HOME `x` \"y\" \\ * ~"}) {
    CAPTURE(text);
    run_child({"sh", "-c", "printf '<%s>' " + shell_word(text)}, log, [] {});
    CHECK(read_file(log) == "<" + text + ">");
  }
}

TEST_CASE("a signal that asks a program to stop is passed on to its child once") {
  const TemporaryFolder folder;
  const auto log = folder / "log.txt";
  const SignalGuard signals;
  bool sent = false;
  // A second one would end the child, as its trap is taken away.
  const int code = run_child({"sh", "-c", "trap 'trap - TERM; echo told; sleep 0.3; exit 5' TERM; echo ready; while true; do sleep 0.05; done"},
                             log, [&] {
                               if (!sent && read_file(log) == "ready\n") sent = ::raise(SIGINT) == 0;
                             });
  CHECK(code == 5);
  CHECK(read_file(log) == "ready\ntold\n");
}
