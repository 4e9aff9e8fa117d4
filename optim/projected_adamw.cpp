#include "optim/projected_adamw.h"

#include <algorithm>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"

namespace ashlar::optim {
namespace {

// Between a matrix and its form with the short side last.
Array turned(const Array& matrix, const Shape& shape) { return shape[1] < shape[2] ? matrix.transpose(1, 2) : matrix; }

}  // namespace

ProjectedAdamW::ProjectedAdamW(std::string_view name, const Parameters& parameters, const ProjectedOptions& options)
    : MatrixOptimizer(name, parameters, options,
                      [rank = options.rank](const Parameter& parameter) {
                        return is_hidden_matrix(parameter) && tall_shape(parameter)[2] > rank;
                      }),
      rank_(options.rank),
      refresh_every_(options.refresh_every),
      scale_(options.scale) {
  check_count(name, "rank", rank_);
  check_count(name, "refresh_every", refresh_every_);
  ASHLAR_CHECK(scale_ > 0, name, ": scale must be above 0, got ", scale_);
  for (Slot* slot : matrix_slots()) {
    const Shape moments = tall_shape(slot->parameter).with(2, rank_);
    for (const char* key : {"exp_avg", "exp_avg_sq"}) slot->add_state(key, moments, slot->parameter.tensor.dtype());
  }
}

Shape ProjectedAdamW::tall_shape(const Parameter& parameter) {
  const Shape matrix = matrix_shape(parameter);
  return {matrix[0], std::max(matrix[1], matrix[2]), std::min(matrix[1], matrix[2])};
}

void ProjectedAdamW::feed_errors_back() {
  for (Slot* slot : matrix_slots()) {
    slot->add_state("error", tall_shape(slot->parameter), slot->parameter.tensor.dtype());
  }
}

void ProjectedAdamW::update_matrix(Slot& slot, const Update& update) {
  const Shape matrix = matrix_shape(slot.parameter);
  const Array gradient = turned(matrix_gradient(slot, update), matrix);
  const auto error = slot.state.find("error");
  const bool feedback = error != slot.state.end();
  if (feedback) kernels::linear_combination(gradient.exec(), gradient, 1, error->second, 1, gradient);
  if (refreshes(slot, refresh_every_)) refresh(slot, gradient);
  const Array q = directions(slot);
  const Array followed = linalg::product(gradient, q);
  if (feedback) {
    const Array kept = linalg::product(followed, q.transpose(1, 2));
    kernels::linear_combination(gradient.exec(), gradient, 1, kept, -1, error->second);
  }
  const Array direction =
      adam_direction(adam(), slot.steps(), followed, slot.state.at("exp_avg"), slot.state.at("exp_avg_sq"));
  move_weight(slot, update, update.lr * scale_, turned(linalg::product(direction, q.transpose(1, 2)), matrix));
}

}  // namespace ashlar::optim
