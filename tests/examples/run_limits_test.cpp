// When a run ends: by steps, by time, by a signal.
#include "examples/support/run_limits.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "core/parallel.h"
#include "kernels/matmul/matmul.h"
#include "layers/init.h"
#include "tests/examples/test_clock.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

TEST_CASE("a run of steps ends after them and its progress is the fraction of the steps") {
  TestClock time;
  RunLimits limits(10, std::nullopt, 0, 0, time.clock());
  std::int64_t step = 0;
  for (; limits.stop_before(step).empty(); ++step, time.now += 2) {
    CHECK(limits.progress(step) == Approx(0.1 * double(step)));
    CHECK(limits.progress_after(step) == Approx(0.1 * double(step + 1)));
  }
  CHECK(step == 10);
  CHECK(limits.stopped_by() == "steps");
  CHECK(limits.progress(10) == 1);
  CHECK(limits.elapsed() == Approx(20));
}

TEST_CASE("a run of minutes ends with them and its progress ends at one") {
  for (const double step_seconds : {0.7, 1.0, 7.0, 25.0}) {
    TestClock time;
    RunLimits limits(std::nullopt, 1, 0, 0, time.clock());
    double last = 0;
    std::int64_t step = 0;
    for (; limits.stop_before(step).empty(); ++step) {
      const double progress = limits.progress(step);
      CHECK(progress == Approx(step_seconds * double(step) / 60));
      const double after = step_seconds * double(step + (step > 0)) / 60;  // nobody knows how long the first one takes
      CHECK(limits.progress_after(step) == Approx(std::min(after, 1.0)));
      last = progress;
      time.now += step_seconds;
      limits.step_done();
    }
    INFO("steps of " << step_seconds);
    CHECK(limits.stopped_by() == "minutes");
    CHECK(std::abs(limits.elapsed() - 60) <= step_seconds / 2 + 1e-9);
    CHECK(last >= 1 - 1.5 * step_seconds / 60 - 1e-9);
  }
}

TEST_CASE("an evaluation between two steps does not make them longer") {
  TestClock time;
  RunLimits limits(std::nullopt, 1, 0, 0, time.clock());
  std::int64_t step = 0;
  for (; limits.stop_before(step).empty(); ++step) {
    time.now += 1;
    limits.step_done();
    if (step % 10 == 9) time.now += 20;  // ends at 30 and 60
  }
  CHECK(limits.elapsed() == Approx(60));
  CHECK(step == 20);
}

TEST_CASE("the limit that comes first decides, and progress never falls") {
  TestClock time;
  RunLimits by_steps(5, 10, 0, 0, time.clock());
  CHECK(by_steps.stop_before(4).empty());
  CHECK(by_steps.progress(4) == Approx(0.8));
  CHECK(by_steps.stop_before(5) == "steps");

  RunLimits by_time(1000, 1, 0, 0, time.clock());
  CHECK(by_time.stop_before(0).empty());
  time.now += 30;
  CHECK(by_time.stop_before(1).empty());
  CHECK(by_time.progress(1) == Approx(0.5));
  CHECK(by_time.seconds_left(1) == Approx(30));
  CHECK(by_time.total_steps(1) == 2);
  time.now += 31;
  CHECK(by_time.stop_before(2) == "minutes");
  CHECK(by_time.progress(2) == 1);
  time.now -= 40;
  CHECK(by_time.progress(2) == 1);
}

TEST_CASE("a resumed run counts the time that it has trained") {
  TestClock time;
  RunLimits limits(std::nullopt, 1, 45, 0, time.clock());
  CHECK(limits.stop_before(100).empty());
  CHECK(limits.elapsed() == Approx(45));
  CHECK(limits.progress(100) == Approx(0.75));
  time.now += 16;
  CHECK(limits.stop_before(101) == "minutes");
  // Its time is over already: no step more.
  // A step of 10 s that would end 6 s too late is not begun, as if the run had never stopped.
  RunLimits late(std::nullopt, 1, 56, 10, time.clock());
  CHECK(late.stop_before(7) == "minutes");
  RunLimits early(std::nullopt, 1, 54, 10, time.clock());
  CHECK(early.stop_before(7).empty());
  CHECK(early.progress_after(7) == 1);

  RunLimits over(std::nullopt, 1, 61, 0, time.clock());
  CHECK(over.stop_before(200) == "minutes");
}

TEST_CASE("a new run does one step, however short its time; a run without an end is refused") {
  TestClock time;
  RunLimits limits(std::nullopt, 1e-9, 0, 0, time.clock());
  time.now += 1;
  CHECK(limits.stop_before(0).empty());
  CHECK(limits.stop_before(1) == "minutes");
  CHECK(contains(error_of([] { RunLimits(std::nullopt, std::nullopt); }), "--minutes"));
}

TEST_CASE("the time left is estimated from the steps of this session") {
  TestClock time;
  RunLimits limits(110, std::nullopt, 500, 0, time.clock());
  limits.stop_before(10);
  CHECK(limits.seconds_left(10) == std::numeric_limits<double>::infinity());
  time.now += 20;
  CHECK(limits.seconds_left(20) == Approx(180));
  CHECK(limits.total_steps(20) == 110);
}

TEST_CASE("a signal stops the run after the step") {
  const SignalGuard guard;
  RunLimits limits(10, std::nullopt);
  CHECK(limits.stop_before(0).empty());
  ::raise(SIGTERM);
  CHECK(limits.stop_before(1) == "signal");
}

TEST_CASE("without a guard signals mean what they meant") {
  struct sigaction before {}, action {};
  ::sigaction(SIGINT, nullptr, &before);
  { const SignalGuard guard; }
  ::sigaction(SIGINT, nullptr, &action);
  CHECK(action.sa_handler == before.sa_handler);
  const SignalGuard guard;
  CHECK_FALSE(SignalGuard::received());
  ::raise(SIGINT);
  CHECK(SignalGuard::received());
}

TEST_CASE("a signal that comes twice at once is one, a later one ends the program") {
  const SignalGuard guard;
  const auto end_of_child = [](int first, int second, double seconds_between) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::raise(first);
      ::usleep(static_cast<useconds_t>(1e6 * seconds_between));
      ::raise(second);
      ::_exit(SignalGuard::received() ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  };
  CHECK(end_of_child(SIGHUP, SIGHUP, 0.001) == 0);
  CHECK(end_of_child(SIGINT, SIGTERM, 0.001) == 0);
  CHECK(end_of_child(SIGINT, SIGTERM, SignalGuard::kOneSignal + 0.1) == 128 + SIGTERM);
}

TEST_CASE("a signal leaves alone what is being multiplied") {
  const SignalGuard guard;
  std::atomic<int> threads = 0, apart = 0;
  on_threads(num_threads(), [&] {
    stack_t stack{};
    ::sigaltstack(nullptr, &stack);
    ++threads;
    apart += (stack.ss_flags & SS_DISABLE) == 0 && stack.ss_size >= 1 << 15;
  });
  CHECK(apart == threads);

  // Signals that are handled as the guard's are, but as often as one likes.
  struct sigaction of_guard {}, often {}, before {};
  ::sigaction(SIGTERM, nullptr, &of_guard);
  often.sa_handler = [](int) {};
  often.sa_flags = of_guard.sa_flags;
  ::sigaction(SIGUSR1, &often, &before);
  Array x = Array::empty({512, 2048}), w = Array::empty({2048, 48});  // long sums, for which oneDNN wants memory
  init::normal(1.0)(x, /*key=*/1);
  init::normal(1.0)(w, /*key=*/2);
  const auto product = [&] {
    const Array y = Array::empty({512, 48});
    kernels::matmul(x.exec(), x, w, y, {});
    return y.to_vector<float>();
  };
  const std::vector<float> expected = product();
  std::atomic<bool> done = false;
  std::thread sender([&] {
    while (!done) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  bool same = true;
  for (int i = 0; i < 100; ++i) same = same && product() == expected;
  done = true;
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  CHECK(same);
}

TEST_CASE("a closed terminal stops the run after the step, unless that is ignored; a closed pipe never does") {
  {
    const SignalGuard guard;
    ::raise(SIGPIPE);
    CHECK_FALSE(SignalGuard::received());
    ::raise(SIGHUP);
    CHECK(SignalGuard::received());
  }
  struct sigaction before {};
  ::sigaction(SIGHUP, nullptr, &before);
  ::signal(SIGHUP, SIG_IGN);
  {
    const SignalGuard guard;
    ::raise(SIGHUP);
    CHECK_FALSE(SignalGuard::received());
    ::raise(SIGTERM);
    struct sigaction action {};
    ::sigaction(SIGHUP, nullptr, &action);
    CHECK(action.sa_handler == SIG_IGN);
  }
  ::sigaction(SIGHUP, &before, nullptr);
}
