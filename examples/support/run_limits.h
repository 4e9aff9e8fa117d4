// When a run ends, and how far it is: after a number of steps, after a wall time, or when the user asks for it.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace ashlar::support {

// Seconds since some fixed moment. Tests bring their own.
using Clock = std::function<double()>;
double steady_seconds();

// While alive, SIGINT, SIGTERM and the SIGHUP of a closed terminal are only noted, so that the step can be finished and a
// checkpoint written; a later one, whichever it is, ends the program at once. SIGPIPE is ignored: a run does not end with
// the reader of its output.
class SignalGuard {
 public:
  // Seconds: a closed terminal and timeout(1) send theirs twice at once.
  static constexpr double kOneSignal = 0.5;

  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
  static bool received();
  // Ends the program by the signal that a guard, which is gone, has noted since forget(): what waits for it sees that it was
  // stopped, and a script stops too. Returns without one.
  static void end_by_noted();
  static void forget();
};

class RunLimits {
 public:
  // At least one of `steps` and `minutes`. `elapsed_before` are the seconds a resumed run has trained already, as --minutes
  // counts the whole run, and `step_seconds` those of its last step.
  RunLimits(std::optional<std::int64_t> steps, std::optional<double> minutes, double elapsed_before = 0, double step_seconds = 0,
            Clock clock = steady_seconds);

  // Why the run ends before step `step` (counted from 0): "steps", "minutes" or "signal"; empty to go on. With a wall
  // time, a step that would end more than half of itself too late is not begun; a run does at least one step.
  const std::string& stop_before(std::int64_t step);
  // The step has ended: what follows until the next, an evaluation or a checkpoint, is no part of it.
  void step_done() { step_seconds_ = elapsed() - step_began_; }
  double step_seconds() const { return step_seconds_; }
  const std::string& stopped_by() const { return reason_; }

  // How much of the run lies behind when step `step` begins, in [0, 1], never falling: the larger of the fractions of
  // the steps and of the wall time. A schedule that is a function of it ends with the run, whichever limit comes first.
  double progress(std::int64_t step);
  // The same when it ends, if it takes as long as the step before: a run by time does not know how long its first one takes.
  double progress_after(std::int64_t step) const;

  double elapsed() const { return elapsed_before_ + clock_() - start_; }
  // Estimates: the steps of the whole run, and the seconds that are left.
  std::int64_t total_steps(std::int64_t step) const;
  double seconds_left(std::int64_t step) const;

 private:
  double fraction(std::int64_t step, double elapsed) const;

  std::optional<std::int64_t> steps_;
  std::optional<double> seconds_;
  double elapsed_before_, step_seconds_, start_, step_began_ = 0, reached_ = 0;
  std::optional<std::int64_t> first_step_;
  Clock clock_;
  std::string reason_;
};

}  // namespace ashlar::support
