#include "optim/adamw.h"

#include "optim/optimizer_kind.h"

namespace ashlar::optim {

const OptimizerKind kAdamW = kind_of<AdamW, AdamWOptions>("adamw");

void check_adam_settings(std::string_view optimizer, const AdamSettings& settings) {
  const auto is_average = [](double beta) { return beta >= 0 && beta < 1; };
  ASHLAR_CHECK(is_average(settings.beta1) && is_average(settings.beta2), optimizer, ": betas must be in [0, 1), got ",
               settings.beta1, " and ", settings.beta2);
  // 0 / 0 would make an element that never had a gradient no number.
  ASHLAR_CHECK(static_cast<float>(settings.eps) > 0, optimizer, ": eps must be above zero, in single precision too, got ",
               settings.eps);
}

void add_adam_state(Slot& slot) {
  slot.add_state("exp_avg");
  slot.add_state("exp_avg_sq");
}

StepNumbers adamw_numbers(Slot& slot, const AdamSettings& settings, double lr) {
  return kernels::adamw_numbers(lr, slot.weight_decay, settings.beta1, settings.beta2, slot.steps());
}

void add_adamw_step(AdamWSteps& steps, Slot& slot, const AdamSettings& settings, const Update& update) {
  steps.push_back({settings.beta1, settings.beta2, settings.eps, update.grad_scale, update.numbers, update.gradient,
                   slot.parameter.tensor.value(), slot.state.at("exp_avg"), slot.state.at("exp_avg_sq")});
}

void take_adamw_steps(const AdamWSteps& steps) {
  if (!steps.empty()) kernels::adamw_update({steps.front().w.device}, steps);
}

Array adam_direction(const AdamSettings& settings, Dim step, const Array& gradient, const Array& m, const Array& v) {
  // The update of a weight of zero, at a learning rate of one.
  const Array direction = Array::zeros(gradient.shape(), gradient.dtype(), gradient.device());
  const auto numbers = kernels::adamw_numbers(1, 0, settings.beta1, settings.beta2, step);
  const Array on_device = Array::from(std::span<const double>(numbers), {3}).to(gradient.device());
  take_adamw_steps({{settings.beta1, settings.beta2, settings.eps, 1, on_device, gradient, direction, m, v}});
  return direction;
}

AdamW::AdamW(const Parameters& parameters, const AdamWOptions& options)
    : Optimizer(parameters, options), settings_(options.adam) {
  check_adam_settings("adamw", settings_);
  for (Slot& slot : own_slots()) add_adam_state(slot);
}

void AdamW::update_all(const std::vector<Update>& updates) {
  AdamWSteps steps;
  for (std::size_t i = 0; i < updates.size(); ++i) add_adamw_step(steps, own_slots()[i], settings_, updates[i]);
  take_adamw_steps(steps);
}

}  // namespace ashlar::optim
