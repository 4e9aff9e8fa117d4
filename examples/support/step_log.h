// The lines of training steps in metrics.jsonl: the first step, every --log-every-th, and the last.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

#include "examples/support/metrics.h"

namespace ashlar::support {

class StepLog {
 public:
  struct Settings {
    std::int64_t every = 1;
    double units_per_step = 1;  // samples or tokens
    double flops_per_unit = 0;  // of a step
    double peak = 1;            // FLOP/s of a large product
  };
  // `step` steps have been done before, after `elapsed` seconds of training. Writes to `metrics`, which must outlive it.
  StepLog(Metrics& metrics, const Settings& settings, std::int64_t step, double elapsed)
      : metrics_(metrics), settings_(settings), step_(step), time_(elapsed) {}

  // `event` without its rate and utilisation, those since the line before.
  void add(const TrainEvent& event);
  // The latest step, if no line was written of it.
  void add_last();
  // So many seconds went by with something else than training.
  void leave_out(double seconds) { time_ += seconds; }
  // Samples or tokens a second; NaN before the first line.
  double rate() const { return rate_; }

 private:
  void write(TrainEvent event);

  Metrics& metrics_;
  Settings settings_;
  std::int64_t step_;
  double time_, rate_ = std::numeric_limits<double>::quiet_NaN();
  std::optional<TrainEvent> passed_over_;
};

}  // namespace ashlar::support
