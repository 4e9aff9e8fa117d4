// Learning-rate schedules: pure functions of the progress that return a factor in [0, 1] for Optimizer::step.
#pragma once
#include <string_view>

#include "core/dtype.h"

namespace ashlar::optim {

enum class Decay { constant, linear, cosine };
// "constant", "linear" or "cosine"; InputError that lists them otherwise.
Decay parse_decay(std::string_view name);

// Rises linearly over the first `warmup` steps, then falls from 1 towards `final_fraction` at step `total`:
//   (step + 1) / (warmup + 1) before, decay((step - warmup) / (total - warmup)) after.
// Steps count from 0; from `total` on it stays at the final fraction.
double lr_factor(Decay decay, Dim step, Dim warmup, Dim total, double final_fraction = 0);

// The same shape over a share of the run in [0, 1] (clamped), for runs that are given a time and not a number of
// steps: rises over the first `warmup` of it.
double lr_factor_at(Decay decay, double progress, double warmup, double final_fraction = 0);

}  // namespace ashlar::optim
