#include "optim/shampoo.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/normalize/normalize.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

// Gives every matrix of the batch the Frobenius norm of its counterpart.
void take_norms(const Array& batch, const Array& counterpart) {
  const Array rows = batch.reshape({batch.size(0), -1});
  kernels::normalize_rows(rows.exec(), rows, counterpart.reshape({batch.size(0), -1}), 0, rows);
}

}  // namespace

const OptimizerKind kShampoo = kind_of<Shampoo, ShampooOptions>("shampoo");

Array inverse_root(const Array& a, double order, double damping, double correction) {
  const linalg::Eigen eigen = linalg::eigh(a);
  std::vector<double> values = eigen.values.to_vector<double>();
  const auto n = static_cast<std::size_t>(a.size(2));
  for (std::size_t begin = 0; begin < values.size(); begin += n) {
    const double largest = std::max(values[begin + n - 1], 0.0);
    for (std::size_t i = begin; i < begin + n; ++i) {
      // Rounding may leave what should be zero below it.
      const double value = (std::max(values[i], 0.0) + damping * largest) / correction;
      values[i] = value > 0 ? std::pow(value, -1 / order) : 0;
    }
  }
  const Array roots = Array::from(values, {a.size(0), 1, a.size(2)}).to(a.dtype()).to(a.device());
  const Array scaled = empty_like(eigen.vectors);
  kernels::multiply(a.exec(), eigen.vectors, roots.expand(scaled.shape()), scaled);
  return linalg::product(scaled, eigen.vectors.transpose(1, 2));
}

Shampoo::Shampoo(const Parameters& parameters, const ShampooOptions& options)
    : MatrixOptimizer("shampoo", parameters, options, has_side(options.max_precond_dim)),
      refresh_every_(options.refresh_every),
      max_precond_dim_(options.max_precond_dim),
      damping_(options.damping),
      graft_(options.graft) {
  check_count("shampoo", "refresh_every", refresh_every_);
  check_count("shampoo", "max_precond_dim", max_precond_dim_);
  ASHLAR_CHECK(damping_ >= 0, "shampoo: damping must not be negative, got ", damping_);
  for (Slot* slot : matrix_slots()) {
    slot->add_state("exp_avg");
    if (graft_) slot->add_state("exp_avg_sq");
    add_side_states(*slot, max_precond_dim_, {"average", "root"});
  }
}

Array Shampoo::plain_direction(Slot& slot, const Array& gradient) const {
  const Array m = slot.state.at("exp_avg").reshape(gradient.shape());
  if (graft_) {
    return adam_direction(adam(), slot.steps(), gradient, m, slot.state.at("exp_avg_sq").reshape(gradient.shape()));
  }
  const Exec exec = gradient.exec();
  const Array direction = empty_like(gradient);
  kernels::linear_combination(exec, m, adam().beta1, gradient, 1 - adam().beta1, m);
  kernels::scale(exec, m, 1 / (1 - std::pow(adam().beta1, static_cast<double>(slot.steps()))), direction);
  return direction;
}

void Shampoo::update_matrix(Slot& slot, const Update& update) {
  const Shape matrix = matrix_shape(slot.parameter);
  const auto sides = sides_of(matrix, max_precond_dim_);
  const Array gradient = matrix_gradient(slot, update);
  const bool refresh = refreshes(slot, refresh_every_);
  for (const Side side : sides) {
    const Array& average = slot.state.at(side_key(side, "average"));
    add_to_average(average, adam().beta2, side, gradient);
    if (!refresh) continue;
    const double correction = 1 - std::pow(adam().beta2, static_cast<double>(slot.steps()));
    copy(inverse_root(average, sides.size() == 2 ? 4 : 2, damping_, correction), slot.state.at(side_key(side, "root")));
  }
  const Array plain = plain_direction(slot, gradient);
  Array direction = graft_ ? slot.state.at("exp_avg").reshape(matrix) : plain;
  for (const Side side : sides) direction = multiply_side(slot.state.at(side_key(side, "root")), side, direction);
  if (graft_) take_norms(direction, plain);
  move_weight(slot, update, -update.lr, direction);
}

}  // namespace ashlar::optim
