// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW.
#pragma once
#include "kernels/update/update.h"
#include "optim/optimizer.h"

namespace ashlar::optim {

struct AdamSettings {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;

  template <class F>
  void each_setting(const F& f) {
    f("beta1", beta1);
    f("beta2", beta2);
    f("eps", eps);
  }
};

// The parts of AdamW, for optimizers that treat only some parameters this way. AdamWSteps are gathered and then taken
// all at once, which on a GPU is a launch for hundreds of parameters.
void check_adam_settings(std::string_view optimizer, const AdamSettings& settings);
void add_adam_state(Slot& slot);
StepNumbers adamw_numbers(Slot& slot, const AdamSettings& settings, double lr);
using AdamWSteps = std::vector<kernels::AdamWTensor>;
void add_adamw_step(AdamWSteps& steps, Slot& slot, const AdamSettings& settings, const Update& update);
void take_adamw_steps(const AdamWSteps& steps);

// -m' / (sqrt v' + eps) of update number `step`, counted from 1, after it has moved m and v; all of one shape.
Array adam_direction(const AdamSettings& settings, Dim step, const Array& gradient, const Array& m, const Array& v);

struct AdamWOptions : OptimizerOptions {
  AdamWOptions() { weight_decay = 0.05; }
  AdamSettings adam;

  template <class F>
  void each_setting(const F& f) {
    OptimizerOptions::each_setting(f);
    adam.each_setting(f);
  }
};

// m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,
// w <- w - lr (m' / (sqrt v' + eps) + weight_decay w) with m' and v' corrected for their start at zero.
// State: "exp_avg" (m), "exp_avg_sq" (v).
class AdamW : public Optimizer {
 public:
  explicit AdamW(const Parameters& parameters, const AdamWOptions& options = {});
  bool can_record() const override { return true; }

 private:
  void update_all(const std::vector<Update>& updates) override;
  StepNumbers numbers_of(Slot& slot, double lr) const override { return adamw_numbers(slot, settings_, lr); }
  AdamSettings settings_;
};

}  // namespace ashlar::optim
