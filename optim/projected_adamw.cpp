#include "optim/projected_adamw.h"

#include <algorithm>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"

namespace ashlar::optim {
namespace {

// Between a matrix and its form with the short side last.
Array turned(const Array& matrix, const Shape& shape) { return shape[1] < shape[2] ? matrix.transpose(1, 2) : matrix; }

}  // namespace

Settings projected_settings(const ProjectedOptions& options) {
  Settings settings = matrix_settings(options);
  settings["rank"] = static_cast<double>(options.rank);
  settings["refresh_every"] = static_cast<double>(options.refresh_every);
  settings["scale"] = options.scale;
  return settings;
}

ProjectedOptions projected_options(std::string_view optimizer, const OptimizerOptions& shared,
                                   const Settings& settings) {
  ProjectedOptions options;
  static_cast<MatrixOptions&>(options) = matrix_options(shared, settings);
  options.rank = count_setting(optimizer, settings, "rank");
  options.refresh_every = count_setting(optimizer, settings, "refresh_every");
  options.scale = settings.at("scale");
  return options;
}

ProjectedAdamW::ProjectedAdamW(std::string_view name, const Parameters& parameters, const ProjectedOptions& options)
    : MatrixOptimizer(name, parameters, options,
                      [rank = options.rank](const Parameter& parameter) {
                        return is_hidden_matrix(parameter) && tall_shape(parameter)[2] > rank;
                      }),
      adam_(options.adam),
      rank_(options.rank),
      refresh_every_(options.refresh_every),
      scale_(options.scale) {
  ASHLAR_CHECK(rank_ >= 1, name, ": rank must be at least 1, got ", rank_);
  ASHLAR_CHECK(refresh_every_ >= 1, name, ": refresh_every must be at least 1, got ", refresh_every_);
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
      adam_direction(adam_, slot.steps(), followed, slot.state.at("exp_avg"), slot.state.at("exp_avg_sq"));
  move_weight(slot, update, update.lr * scale_, turned(linalg::product(direction, q.transpose(1, 2)), matrix));
}

}  // namespace ashlar::optim
