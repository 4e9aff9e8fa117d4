// Learning-rate schedules: pure functions of the progress that return a factor in [0, 1] for Optimizer::step.
#pragma once
#include <string_view>

namespace ashlar::optim {

enum class Decay { constant, linear, cosine };
// "constant", "linear" or "cosine"; InputError that lists them otherwise.
Decay parse_decay(std::string_view name);

// At `progress`, a share of the run in [0, 1] (clamped), be the run given by steps or by time: rises linearly from 0 to 1
// over the first `warmup` of it, then falls towards `final_fraction` at its end.
double lr_factor_at(Decay decay, double progress, double warmup, double final_fraction = 0);

}  // namespace ashlar::optim
