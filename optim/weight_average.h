// WeightAverage: an exponential moving average of the weights, which often generalises better than the last of them
// (Polyak and Juditsky 1992; in this form as common in vision training).
#pragma once
#include "optim/optimizer.h"

namespace ashlar::optim {

class WeightAverage {
 public:
  // Starts at the present weights; `decay` in [0, 1).
  WeightAverage(const Parameters& parameters, double decay);

  // After update number `step`, counted from 1: average <- d average + (1 - d) weight with d = min(decay,
  // (1 + step) / (10 + step)), so that the first weights are soon forgotten.
  void update(Dim step);
  // Exchanges the averages with the weights: once to evaluate with them, once more to train on.
  void swap();

  // By parameter name; loading demands exactly these names, shapes and dtypes, as Optimizer::load_state.
  State state() const { return averages_; }
  void check_state(const State& state) const { ashlar::optim::check_state("weight average", state, averages_); }
  void load_state(const State& state);

 private:
  Parameters parameters_;
  State averages_;
  double decay_;
};

}  // namespace ashlar::optim
