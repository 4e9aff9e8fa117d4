#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

Settings matrix_settings(const MatrixOptions& options) {
  return {{"lr", options.lr},          {"weight_decay", options.weight_decay}, {"adamw_lr", options.adamw_lr},
          {"beta1", options.adam.beta1}, {"beta2", options.adam.beta2},          {"eps", options.adam.eps}};
}

MatrixOptions matrix_options(const OptimizerOptions& shared, const Settings& settings) {
  MatrixOptions options;
  static_cast<OptimizerOptions&>(options) = shared;
  options.adamw_lr = settings.at("adamw_lr");
  options.adam = {settings.at("beta1"), settings.at("beta2"), settings.at("eps")};
  return options;
}

Shape matrix_shape(const Parameter& parameter) {
  const Shape& shape = parameter.tensor.shape();
  const Dim rows = shape[shape.ndim() - 2], columns = shape[shape.ndim() - 1];
  return {shape.numel() / (rows * columns), rows, columns};
}

bool MatrixOptimizer::is_matrix(const Parameter& parameter) {
  const Shape& shape = parameter.tensor.shape();
  return parameter.info.role == Role::matrix && parameter.info.hidden && shape.ndim() >= 2 &&
         shape[shape.ndim() - 2] > 1 && shape[shape.ndim() - 1] > 1;
}

MatrixOptimizer::MatrixOptimizer(std::string_view name, const Parameters& parameters, const MatrixOptions& options)
    : Optimizer(parameters, options,
                [&](const Parameter& parameter) { return is_matrix(parameter) ? options.lr : options.adamw_lr; }),
      adam_(options.adam) {
  check_adam_settings(name, adam_);
  for (Slot& slot : slots()) {
    if (!is_matrix(slot.parameter)) add_adam_state(slot);
  }
}

void MatrixOptimizer::update(Slot& slot, const Update& update) {
  if (is_matrix(slot.parameter)) update_matrix(slot, update);
  else adamw_step(slot, adam_, update);
}

}  // namespace ashlar::optim
