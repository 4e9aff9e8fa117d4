// What the user sees while a run trains: on a terminal a bar that redraws itself, elsewhere plain lines at intervals.
#pragma once
#include <cstdint>
#include <ostream>
#include <string>

#include "examples/support/metrics.h"
#include "examples/support/run_limits.h"

namespace ashlar::support {

struct ProgressState {
  std::int64_t step = 0, total_steps = 0;
  double fraction = 0;  // of the run, [0, 1]
  double loss = 0, lr = 0;
  double rate = 0;  // samples or tokens a second
  double elapsed = 0, seconds_left = 0;
};

class Progress {
 public:
  // On standard output; a terminal if it is one.
  explicit Progress(Unit unit);
  Progress(std::ostream& out, bool terminal, int columns, Unit unit, Clock clock = steady_seconds);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap: draws at most ten times a second, without a terminal the first time and then every five seconds.
  void update(const ProgressState& state);
  // A line that stays, such as the result of an evaluation; the bar goes on below it.
  void message(const std::string& text);

 private:
  std::string bar(const ProgressState& state) const;
  std::string plain(const ProgressState& state) const;
  void clear();

  std::ostream& out_;
  bool terminal_;
  int columns_;  // 0: ask the terminal before each redraw
  Unit unit_;
  Clock clock_;
  double next_ = 0;
  bool started_ = false, drawn_ = false;
};

std::string format_duration(double seconds);  // "4:32", "1:04:32"; "?" if it is not finite
std::string format_count(double count);       // "8.12", "8120", "81.2k", "21.7M"

}  // namespace ashlar::support
