#include "examples/support/run_limits.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <iterator>

#include "core/error.h"
#include "core/parallel.h"

namespace ashlar::support {
namespace {

volatile sig_atomic_t signal_received = 0, latest_signal = 0;
timespec first_signal;

constexpr int kStopping[] = {SIGINT, SIGTERM, SIGHUP};
struct sigaction old_stopping[std::size(kStopping)], old_pipe;

extern "C" void note_signal(int signal) {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (!signal_received) {
    first_signal = now;
    signal_received = signal;
    latest_signal = signal;
    return;
  }
  const double since = static_cast<double>(now.tv_sec - first_signal.tv_sec) +
                       1e-9 * static_cast<double>(now.tv_nsec - first_signal.tv_nsec);
  if (since < SignalGuard::kOneSignal) return;
  ::signal(signal, SIG_DFL);
  ::raise(signal);  // takes effect when this returns
}

// While they multiply, kernels of oneDNN before March 2026 have the stack pointer in the heap (uxlfoundation/oneDNN#4845), where
// a handler would overwrite what lies below. So it has memory of its own, in every thread that multiplies.
void set_handlers_apart() {
  on_threads(num_threads(), [] {
    alignas(std::max_align_t) thread_local std::byte memory[1 << 16];
    stack_t stack{};
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    ::sigaltstack(&stack, nullptr);
  });
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

SignalGuard::SignalGuard() {
  signal_received = 0;
  set_handlers_apart();
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (std::size_t i = 0; i < std::size(kStopping); ++i) {
    ::sigaction(kStopping[i], nullptr, &old_stopping[i]);
    const bool nohup = kStopping[i] == SIGHUP && old_stopping[i].sa_handler == SIG_IGN;
    if (!nohup) ::sigaction(kStopping[i], &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, &old_pipe);
}

SignalGuard::~SignalGuard() {
  for (std::size_t i = 0; i < std::size(kStopping); ++i) ::sigaction(kStopping[i], &old_stopping[i], nullptr);
  ::sigaction(SIGPIPE, &old_pipe, nullptr);
  signal_received = 0;
}

bool SignalGuard::received() { return signal_received != 0; }

void SignalGuard::end_by_noted() {
  if (!latest_signal) return;
  ::signal(latest_signal, SIG_DFL);  // a script starts what it puts in the background with SIGINT ignored
  ::raise(latest_signal);
}

void SignalGuard::forget() { latest_signal = 0; }

RunLimits::RunLimits(std::optional<std::int64_t> steps, std::optional<double> minutes, double elapsed_before,
                     double step_seconds, Clock clock)
    : steps_(steps), elapsed_before_(elapsed_before), step_seconds_(step_seconds), start_(clock()), clock_(std::move(clock)) {
  ASHLAR_CHECK(steps || minutes, "a run needs an end: give --epochs, --steps or --minutes");
  if (minutes) seconds_ = *minutes * 60;
}

const std::string& RunLimits::stop_before(std::int64_t step) {
  const double now = elapsed();
  const bool first = !first_step_;
  if (first) first_step_ = step;
  step_began_ = now;
  if (SignalGuard::received()) reason_ = "signal";
  else if (steps_ && step >= *steps_) reason_ = "steps";
  else if (seconds_ && now + step_seconds_ / 2 >= *seconds_ && !(first && step == 0)) {
    reason_ = "minutes";
  }
  return reason_;
}

double RunLimits::fraction(std::int64_t step, double elapsed) const {
  const double by_steps = steps_ ? static_cast<double>(step) / static_cast<double>(*steps_) : 0;
  const double by_time = seconds_ ? elapsed / *seconds_ : 0;
  return std::clamp(std::max(by_steps, by_time), 0.0, 1.0);
}

double RunLimits::progress(std::int64_t step) { return reached_ = std::max(reached_, fraction(step, elapsed())); }

double RunLimits::progress_after(std::int64_t step) const {
  return std::max(reached_, fraction(step + 1, elapsed() + step_seconds_));
}

double RunLimits::seconds_left(std::int64_t step) const {
  const double by_time = seconds_ ? std::max(0.0, *seconds_ - elapsed()) : INFINITY;
  const double done = static_cast<double>(step - first_step_.value_or(0));
  if (!steps_ || done <= 0) return by_time;
  const double by_steps = (elapsed() - elapsed_before_) / done * static_cast<double>(*steps_ - step);
  return std::min(by_time, std::max(0.0, by_steps));
}

std::int64_t RunLimits::total_steps(std::int64_t step) const {
  const double done = static_cast<double>(step - first_step_.value_or(0));
  const double spent = elapsed() - elapsed_before_;
  const std::int64_t limit = steps_.value_or(INT64_MAX);
  if (!seconds_ || done <= 0 || spent <= 0) return steps_.value_or(step);
  const double by_time = static_cast<double>(step) + std::max(0.0, *seconds_ - elapsed()) * done / spent;
  return by_time < static_cast<double>(limit) ? static_cast<std::int64_t>(by_time) : limit;
}

}  // namespace ashlar::support
