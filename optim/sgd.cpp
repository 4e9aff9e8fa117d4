#include "optim/sgd.h"

#include "optim/optimizer_kind.h"

namespace ashlar::optim {

const OptimizerKind kSgd = kind_of<Sgd, SgdOptions>("sgd");

Sgd::Sgd(const Parameters& parameters, const SgdOptions& options)
    : Optimizer(parameters, options), momentum_(options.momentum), nesterov_(options.nesterov) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, "sgd: momentum must be in [0, 1), got ", momentum_);
  ASHLAR_CHECK(!nesterov_ || momentum_ > 0, "sgd: nesterov needs a momentum above 0");
  ASHLAR_CHECK(!options.lr_scale, "sgd: lr_scale is a rule for steps of Adam's size, which these are not; switch it off");
  if (momentum_ == 0) return;
  for (Slot& slot : own_slots()) slot.add_state("momentum_buffer");
}

kernels::SgdTensor Sgd::tensor_of(Slot& slot, const Update& update) const {
  return {momentum_,
          slot.weight_decay,
          update.grad_scale,
          nesterov_,
          update.numbers.slice(0, 0, 1),
          update.gradient,
          slot.parameter.tensor.value(),
          momentum_ > 0 ? View(slot.state.at("momentum_buffer")) : View()};
}

void Sgd::update_all(const std::vector<Update>& updates) {
  std::vector<kernels::SgdTensor> tensors;
  for (std::size_t i = 0; i < updates.size(); ++i) tensors.push_back(tensor_of(own_slots()[i], updates[i]));
  kernels::sgd_update(own_slots().front().parameter.tensor.value().exec(), tensors);
}

}  // namespace ashlar::optim
