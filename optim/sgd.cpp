#include "optim/sgd.h"

#include "kernels/update/update.h"

namespace ashlar::optim {

Sgd::Sgd(const Parameters& parameters, const SgdOptions& options)
    : Optimizer(parameters, options), momentum_(options.momentum), nesterov_(options.nesterov) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, "sgd: momentum must be in [0, 1), got ", momentum_);
  ASHLAR_CHECK(!nesterov_ || momentum_ > 0, "sgd: nesterov needs a momentum above 0");
  if (momentum_ == 0) return;
  for (Slot& slot : slots()) slot.add_state("momentum_buffer");
}

void Sgd::update(Slot& slot, const Update& update) {
  const Array& weight = slot.parameter.tensor.value();
  const kernels::SgdUpdate settings{update.lr, momentum_, slot.weight_decay, update.grad_scale, nesterov_};
  const View buffer = momentum_ > 0 ? View(slot.state.at("momentum_buffer")) : View();
  kernels::sgd_update(weight.exec(), settings, update.gradient, weight, buffer);
}

}  // namespace ashlar::optim
