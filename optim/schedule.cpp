#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/text.h"

namespace ashlar::optim {
namespace {

// From 1 at t = 0 to final_fraction at t = 1.
double decayed(Decay decay, double t, double final_fraction) {
  ASHLAR_CHECK(final_fraction >= 0 && final_fraction <= 1, "schedule: the final fraction must be in [0, 1], got ",
               final_fraction);
  switch (decay) {
    case Decay::constant: break;
    case Decay::linear: return 1 - (1 - final_fraction) * t;
    case Decay::cosine: return final_fraction + (1 - final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * t));
  }
  return 1;
}

}  // namespace

Decay parse_decay(std::string_view name) {
  if (name == "constant") return Decay::constant;
  if (name == "linear") return Decay::linear;
  if (name == "cosine") return Decay::cosine;
  const std::vector<std::string> valid{"constant", "linear", "cosine"};
  throw InputError(concat("schedule: unknown decay '", name, "'; ", did_you_mean(std::string(name), valid), "Valid: ", join(valid)));
}

double lr_factor_at(Decay decay, StepPlace step, double warmup, double final_fraction) {
  ASHLAR_CHECK(step.begin <= step.end, "schedule: a step must end where it begins or later, got ", step.begin, " to ", step.end);
  ASHLAR_CHECK(warmup >= 0 && warmup < 1, "schedule: the warm-up must be a share in [0, 1) of the run, got ", warmup);
  const double begin = std::clamp(step.begin, 0.0, 1.0), end = std::clamp(step.end, 0.0, 1.0);
  if (begin < warmup) return std::min(1.0, end / warmup);
  return decayed(decay, (begin - warmup) / (1 - warmup), final_fraction);
}

}  // namespace ashlar::optim
