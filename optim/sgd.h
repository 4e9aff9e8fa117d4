// Stochastic gradient descent with momentum, as torch.optim.SGD with dampening 0.
#pragma once
#include "kernels/update/update.h"
#include "optim/optimizer.h"

namespace ashlar::optim {

struct SgdOptions : OptimizerOptions {
  SgdOptions() {
    lr = 0.1;
    weight_decay = 5e-4;
  }
  double momentum = 0.9;
  bool nesterov = false;

  template <class F>
  void each_setting(const F& f) {
    OptimizerOptions::each_setting(f);
    f("momentum", momentum);
    f("nesterov", nesterov);
  }
};

// With g = grad + weight_decay w:  buffer <- momentum buffer + g,  w <- w - lr (g + momentum buffer if Nesterov,
// buffer otherwise). State: "momentum_buffer", unless the momentum is 0.
class Sgd : public Optimizer {
 public:
  explicit Sgd(const Parameters& parameters, const SgdOptions& options = {});
  bool can_record() const override { return true; }

 private:
  kernels::SgdTensor tensor_of(Slot& slot, const Update& update) const;
  void update_all(const std::vector<Update>& updates) override;
  double momentum_;
  bool nesterov_;
};

}  // namespace ashlar::optim
