#include "optim/matrix_optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"

namespace ashlar::optim {

namespace {

const MatrixOptions& checked(std::string_view name, const MatrixOptions& options) {
  ASHLAR_CHECK(std::isfinite(options.adamw_lr) && options.adamw_lr >= 0, name,
               ": adamw_lr must be finite and not negative, got ", options.adamw_lr);
  return options;
}

}  // namespace

Shape matrix_shape(const Parameter& parameter) {
  const Shape& shape = parameter.tensor.shape();
  Dim batch = 1;
  for (int d = 0; d < parameter.info.batch_dims; ++d) batch *= shape[d];
  const Dim rows = shape[parameter.info.batch_dims];
  return {batch, rows, shape.numel() / (batch * rows)};
}

Array matrix_gradient(const Slot& slot, const Update& update) {
  const Array gradient = empty_like(update.gradient);
  kernels::scale(gradient.exec(), update.gradient, update.grad_scale, gradient);
  return gradient.reshape(matrix_shape(slot.parameter));
}

void move_weight(const Slot& slot, const Update& update, double factor, const Array& direction) {
  const Array& weight = slot.parameter.tensor.value();
  kernels::linear_combination(weight.exec(), weight, 1 - update.lr * slot.weight_decay,
                              direction.reshape(weight.shape()), factor, weight);
}

void check_count(std::string_view optimizer, std::string_view key, Dim value) {
  ASHLAR_CHECK(value >= 1, optimizer, ": ", key, " must be at least 1, got ", value);
}

bool is_hidden_matrix(const Parameter& parameter) {
  const ParamInfo& info = parameter.info;
  const Shape& shape = parameter.tensor.shape();
  if (info.role != Role::matrix || !info.hidden || shape.ndim() < info.batch_dims + 2 || shape.numel() == 0) return false;
  const Shape matrix = matrix_shape(parameter);
  return matrix[1] > 1 && matrix[2] > 1;
}

MatrixOptimizer::MatrixOptimizer(std::string_view name, const Parameters& parameters, const MatrixOptions& options,
                                 const std::function<bool(const Parameter&)>& treats)
    : Optimizer(parameters, checked(name, options),
                [&](const Parameter& parameter) { return treats(parameter) ? options.lr : options.adamw_lr; }),
      name_(name),
      adam_(options.adam) {
  check_adam_settings(name, adam_);
  for (Slot& slot : own_slots()) {
    if (treats(slot.parameter)) matrices_.push_back(&slot);
    else add_adam_state(slot);
  }
}

bool MatrixOptimizer::refreshes(Slot& slot, Dim every) {
  const Dim updates = slot.steps() - 1, place = std::ranges::find(matrices_, &slot) - matrices_.begin();
  const Dim ahead = place * every / static_cast<Dim>(matrices_.size());
  return updates == 0 || (updates + ahead) % every == 0;
}

bool MatrixOptimizer::is_matrix(const Slot& slot) const { return std::ranges::find(matrices_, &slot) != matrices_.end(); }

StepNumbers MatrixOptimizer::numbers_of(Slot& slot, double lr) const {
  return is_matrix(slot) ? Optimizer::numbers_of(slot, lr) : adamw_numbers(slot, adam_, lr);
}

void MatrixOptimizer::update_matrices(const std::vector<MatrixUpdate>& matrices) {
  for (const auto& [slot, update] : matrices) {
    try {
      update_matrix(slot, update);
    } catch (const Error& error) {
      throw Error(concat(name_, ": ", slot.parameter.name, ": ", error.what()));
    }
  }
}

void MatrixOptimizer::update_all(const std::vector<Update>& updates) {
  AdamWSteps others;
  std::vector<MatrixUpdate> matrices;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (is_matrix(own_slots()[i])) matrices.push_back({own_slots()[i], updates[i]});
    else add_adamw_step(others, own_slots()[i], adam_, updates[i]);
  }
  update_matrices(matrices);
  take_adamw_steps(others);
}

}  // namespace ashlar::optim
