// Learning-rate schedules: pure functions of the progress that return a factor in [0, 1] for Optimizer::step.
#pragma once
#include <string_view>

namespace ashlar::optim {

enum class Decay { constant, linear, cosine };
// "constant", "linear" or "cosine"; InputError that lists them otherwise.
Decay parse_decay(std::string_view name);

// Where a step begins and ends, as shares of the run in [0, 1] (clamped), be it given by steps or by time.
struct StepPlace {
  double begin = 0, end = 0;
};

// Rises linearly to 1 over the first `warmup` of the run, by where the step ends, then falls from 1 towards `final_fraction`,
// by where it begins: neither the first step nor the last is one of 0. A step s of W in the warm-up has (s + 1) / W.
double lr_factor_at(Decay decay, StepPlace step, double warmup, double final_fraction = 0);

}  // namespace ashlar::optim
