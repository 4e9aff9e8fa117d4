// What the user sees while a run trains: on a terminal a bar that redraws itself, elsewhere plain lines at intervals.
#pragma once
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "examples/support/metrics.h"
#include "examples/support/run_limits.h"

namespace ashlar::support {

// Of standard output; 80 where it is no terminal.
int terminal_columns();

struct ProgressState {
  std::int64_t step = 0, total_steps = 0;
  double fraction = 0;  // of the run, [0, 1]
  double loss = 0, lr = 0;
  double rate = 0;  // samples or tokens a second; NaN while it is not known
  double elapsed = 0, seconds_left = 0;
};

// The last line of the output: on a terminal redrawn in place, elsewhere a new one now and then.
class StatusLine {
 public:
  StatusLine(std::ostream& out, bool terminal, int columns, Clock clock);
  ~StatusLine();  // takes the line away
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  // Whether it is time to show the line again: ten times a second, without a terminal every five seconds.
  bool due();
  void show(const std::string& line);
  // A line that stays; the status goes on below it.
  void message(const std::string& text);
  bool terminal() const { return terminal_; }
  double now() const { return clock_(); }
  // One column stays free: a line that fills the terminal would wrap and could not be redrawn.
  int columns() const;

 private:
  void clear();

  std::ostream& out_;
  bool terminal_;
  int columns_;  // 0: ask the terminal before each redraw
  Clock clock_;
  double next_ = 0;
  bool started_ = false, drawn_ = false;
};

class Progress {
 public:
  // On standard output; a terminal if it is one.
  explicit Progress(Unit unit);
  Progress(std::ostream& out, bool terminal, int columns, Unit unit, Clock clock = steady_seconds);

  // Cheap: draws at most ten times a second, without a terminal the first time and then every five seconds.
  void update(const ProgressState& state);
  // Shows the latest state that has not been shown.
  void last();
  // In its place while an evaluation has done so many of its batches, from 0 on; without a terminal only of one that takes
  // longer than the lines' interval.
  void evaluating(std::int64_t done, std::int64_t count);
  // A line that stays, such as the result of an evaluation; the bar goes on below it.
  void message(const std::string& text) { line_.message(text); }

 private:
  std::string bar(const ProgressState& state) const;
  std::string plain(const ProgressState& state) const;
  std::string rate(const ProgressState& state) const;  // with the space before it; empty of NaN

  StatusLine line_;
  Unit unit_;
  std::optional<ProgressState> not_shown_;
  double evaluation_began_ = 0;
};

// How many of a number of things are done: a bar on a terminal, and nothing but the messages elsewhere.
class ItemProgress {
 public:
  ItemProgress();  // on standard output
  ItemProgress(std::ostream& out, bool terminal, int columns, Clock clock = steady_seconds);
  void update(std::int64_t done, std::int64_t count, const std::string& what);
  void message(const std::string& text) { line_.message(text); }

 private:
  StatusLine line_;
  double began_;
};

}  // namespace ashlar::support
