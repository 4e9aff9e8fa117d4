#include "optim/weight_average.h"

#include <algorithm>

#include "kernels/update/update.h"

namespace ashlar::optim {

WeightAverage::WeightAverage(const Parameters& parameters, double decay) : parameters_(parameters), decay_(decay) {
  ASHLAR_CHECK(decay >= 0 && decay < 1, "weight average: the decay must be in [0, 1), got ", decay);
  for (const Parameter& parameter : parameters) averages_[parameter.name] = parameter.tensor.value().clone();
}

void WeightAverage::update(Dim step) {
  const auto number = static_cast<double>(step);
  const double decay = std::min(decay_, (1 + number) / (10 + number));
  std::vector<kernels::EmaTensor> tensors;
  for (const Parameter& parameter : parameters_) {
    tensors.push_back({parameter.tensor.value(), averages_.at(parameter.name)});
  }
  if (!tensors.empty()) kernels::ema_update({tensors.front().w.device}, decay, tensors);
}

void WeightAverage::swap() {
  for (const Parameter& parameter : parameters_) {
    const Array &weight = parameter.tensor.value(), &average = averages_.at(parameter.name);
    const Array kept = weight.clone();
    copy(average, weight);
    copy(kept, average);
  }
}

void WeightAverage::load_state(const State& state) { copy_state("weight average", state, averages_); }

}  // namespace ashlar::optim
