#include "optim/sgd.h"

#include "kernels/update/update.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

Settings sgd_defaults() {
  const SgdOptions options;
  return {{"lr", options.lr},
          {"weight_decay", options.weight_decay},
          {"momentum", options.momentum},
          {"nesterov", options.nesterov}};
}

std::unique_ptr<Optimizer> make_sgd(const Parameters& parameters, const OptimizerOptions& shared,
                                    const Settings& settings) {
  SgdOptions options;
  static_cast<OptimizerOptions&>(options) = shared;
  options.momentum = settings.at("momentum");
  options.nesterov = settings.at("nesterov") != 0;
  return std::make_unique<Sgd>(parameters, options);
}

}  // namespace

const OptimizerKind kSgd{"sgd", &sgd_defaults, &make_sgd};

Sgd::Sgd(const Parameters& parameters, const SgdOptions& options)
    : Optimizer(parameters, options), momentum_(options.momentum), nesterov_(options.nesterov) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, "sgd: momentum must be in [0, 1), got ", momentum_);
  ASHLAR_CHECK(!nesterov_ || momentum_ > 0, "sgd: nesterov needs a momentum above 0");
  ASHLAR_CHECK(!options.lr_scale, "sgd: lr_scale is a rule for steps of Adam's size, which these are not; switch it off");
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
