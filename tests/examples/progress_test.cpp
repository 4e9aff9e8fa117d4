// What a run tells on its way.
#include "examples/support/format.h"
#include "examples/support/progress.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "core/error.h"
#include "examples/support/system.h"
#include "tests/examples/test_clock.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

TEST_CASE("on a terminal the bar redraws itself at most ten times a second and leaves no trace") {
  TestClock time;
  std::ostringstream out;
  {
    Progress progress(out, true, 80, Unit::sample, time.clock());
    for (int i = 0; i < 100; ++i, time.now += 0.01) progress.update({i, 100, i / 100.0, 1.5, 1e-3, 812, 1, 272});
    const std::string text = out.str();
    CHECK(std::ranges::count(text, '\r') == 10);
    CHECK_FALSE(contains(text, "\n"));
    CHECK(contains(text, "step 0/100  ["));
    CHECK(contains(text, "loss 1.5000  812 samples/s  4:32 left"));
    for (std::size_t at = text.find('\r'); at != std::string::npos;) {
      const std::size_t end = text.find("\x1b[K", at);
      CHECK(end - at - 1 < 80);
      at = text.find('\r', at + 1);
    }
    progress.message("evaluated");
    progress.update({100, 100, 1, 1.5, 1e-3, 812, 1, 0});
    CHECK(contains(out.str(), "\r\x1b[Kevaluated\n\rstep 100/100"));
  }
  CHECK(out.str().ends_with("\r\x1b[K"));
}

TEST_CASE("on a terminal an evaluation takes the place of the bar from its beginning, and leaves it to the steps that follow") {
  TestClock time;
  std::ostringstream out;
  Progress progress(out, true, 60, Unit::sample, time.clock());
  progress.update({5, 100, 0.05, 1.5, 1e-3, 812, 1, 272});
  progress.evaluating(0, 50);
  CHECK(contains(out.str(), "left\x1b[K\revaluating  [                              ] 0 %\x1b[K"));
  for (int done = 1; done < 50; ++done, time.now += 0.0625) progress.evaluating(done, 50);
  CHECK(std::ranges::count(out.str(), '\r') == 2 + 24);
  CHECK(contains(out.str(), "] 34 %\x1b[K"));
  progress.message("evaluated");
  CHECK(out.str().ends_with("\r\x1b[Kevaluated\n"));
  progress.update({6, 100, 0.06, 1.5, 1e-3, 812, 1, 272});
  CHECK(contains(out.str(), "evaluated\n\rstep 6/100"));
}

TEST_CASE("without a terminal an evaluation has lines only if it takes longer than they are apart") {
  TestClock time;
  std::ostringstream out;
  Progress progress(out, false, 0, Unit::sample, time.clock());
  time.now += 100;
  for (int evaluation = 0; evaluation < 3; ++evaluation) {
    for (int done = 0; done < 39; ++done, time.now += 0.125) progress.evaluating(done, 39);
  }
  CHECK(out.str().empty());
  for (int done = 0; done < 120; ++done, time.now += 0.125) progress.evaluating(done, 120);
  CHECK(out.str() == "evaluating 33 %\nevaluating 67 %\n");
}

TEST_CASE("a rate that is not known yet is not shown") {
  for (const bool terminal : {true, false}) {
    TestClock time;
    std::ostringstream out;
    Progress progress(out, terminal, 120, Unit::sample, time.clock());
    progress.update({7, 100, 0.07, 1.5, 1e-3, std::numeric_limits<double>::quiet_NaN(), 1, 272});
    CAPTURE(out.str());
    CHECK(contains(out.str(), "loss 1.5000"));
    CHECK_FALSE(contains(out.str(), "samples/s"));
  }
}

TEST_CASE("a narrow terminal gets a shorter line, not two") {
  TestClock time;
  for (const int columns : {1, 10, 40, 60, 200}) {
    std::ostringstream out;
    Progress progress(out, true, columns, Unit::token, time.clock());
    progress.update({1, 1000, 0.5, 1.5, 1e-3, 12345, 1, 4000});
    CHECK(static_cast<int>(out.str().size()) - 4 < columns);
  }
  // The least important goes first, and as a whole.
  const std::pair<int, const char*> lines[] = {{200, "step 1/1000  [===============               ]  50%  loss 1.5000  12.3k tokens/s  1:06:40 left"},
                                               {61, "step 1/1000   50%  loss 1.5000  12.3k tokens/s  1:06:40 left"},
                                               {60, "step 1/1000  [======      ]  50%  loss 1.5000  1:06:40 left"},
                                               {45, "step 1/1000   50%  loss 1.5000  1:06:40 left"},
                                               {44, "step 1/1000  loss 1.5000  1:06:40 left"},
                                               {40, "step 1/1000  loss 1.5000  1:06:40 left"},
                                               {30, "step 1/1000  loss 1.5000"}};
  for (const auto& [columns, line] : lines) {
    CAPTURE(columns);
    std::ostringstream out;
    Progress progress(out, true, columns, Unit::token, time.clock());
    progress.update({1, 1000, 0.5, 1.5, 1e-3, 12345, 1, 4000});
    CHECK(out.str() == concat('\r', line, "\x1b[K"));
  }
  std::ostringstream out;
  ItemProgress progress(out, true, 40, time.clock());
  progress.update(0, 12, "block_diagonal:shuffle=1,ratio=0.25, lr 0.001, seed 1");
  CHECK(out.str() == "\r0/12  block_diagonal:shuffle=1,  ? left\x1b[K");
}

TEST_CASE("without a terminal plain lines come at intervals") {
  TestClock time;
  std::ostringstream out;
  {
    Progress progress(out, false, 0, Unit::token, time.clock());
    for (int i = 0; i < 120; ++i, time.now += 0.1) progress.update({i, 120, 0, 2.25, 1e-3, 5000, 0.1 * i, 60});
    progress.message("evaluated");
  }
  const std::string text = out.str();
  CHECK(std::ranges::count(text, '\n') == 4);
  CHECK_FALSE(contains(text, "\r"));
  CHECK_FALSE(contains(text, "\x1b"));
  CHECK(contains(text, "step 50/120  loss 2.2500  lr 0.001  5000 tokens/s  elapsed 0:05  left 1:00\n"));
}

TEST_CASE("the last state is shown if it has not been") {
  TestClock time;
  std::ostringstream out;
  {
    Progress progress(out, false, 0, Unit::token, time.clock());
    progress.update({1, 3, 0, 2.5, 1e-3, 5000, 0.1, 60});
    progress.last();  // has been
    progress.update({2, 3, 0, 2.25, 1e-3, 5000, 0.2, 60});
    progress.update({3, 3, 0, 2.125, 1e-3, 5000, 0.3, 60});
    progress.last();
    progress.last();
  }
  const std::string text = out.str();
  CHECK(std::ranges::count(text, '\n') == 2);
  CHECK(contains(text, "step 1/3  loss 2.5000"));
  CHECK(contains(text, "step 3/3  loss 2.1250"));
}

TEST_CASE("durations and counts are short") {
  CHECK(format_duration(0) == "0:00");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(3600 + 61) == "1:01:01");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(format_count(0) == "0");
  CHECK(format_count(7) == "7");
  CHECK(format_count(8.123) == "8.12");
  CHECK(format_count(81.23) == "81.2");
  CHECK(format_count(8123.4) == "8123");
  CHECK(format_count(81234) == "81.2k");
  CHECK(format_count(999'600) == "1.00M");
  CHECK(format_count(124'439'808) == "124M");
  CHECK(format_count(std::nan("")) == "?");
  CHECK(counted(1, "step") == "1 step");
  CHECK(counted(0, "step") == "0 steps");
  CHECK(counted(1, "class", "classes") == "1 class");
  CHECK(counted(12, "class", "classes") == "12 classes");
}

TEST_CASE("the start-up line names the machine and the build") {
  const std::string line = startup_line("train_vit", "cpu", 2, "f32");
  CHECK(contains(line, "train_vit: cpu, 2 threads, f32, " + instruction_set()));
  CHECK(contains(line, build_description()));
  CHECK(contains(startup_line("x", "cpu", 1, "f32"), "1 thread,"));
  CHECK_FALSE(git_revision().empty());
}
