#include "optim/soap.h"

#include <algorithm>
#include <numeric>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

// Matrices (batch, n, n) that bring columns into the order of falling values (batch, n) when multiplied from the right.
Array sorting_permutation(const Array& values) {
  const auto batch = static_cast<std::size_t>(values.size(0)), n = static_cast<std::size_t>(values.size(1));
  const auto of_all = values.to_vector<double>();
  std::vector<double> permutation(batch * n * n);
  std::vector<std::size_t> order(n);
  for (std::size_t k = 0; k < batch; ++k) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return of_all[k * n + a] > of_all[k * n + b]; });
    for (std::size_t i = 0; i < n; ++i) permutation[(k * n + order[i]) * n + i] = 1;
  }
  return Array::from(permutation, {values.size(0), values.size(1), values.size(1)}).to(values.dtype()).to(values.device());
}

// diag(aᵀ b) of each matrix: (batch, n, n) twice -> (batch, n)
Array column_products(const Array& a, const Array& b) {
  const Array products = empty_like(a);
  kernels::multiply(a.exec(), a, b, products);
  const Array sums = Array::empty({a.size(0), 1, a.size(2)}, a.dtype(), a.device());
  kernels::sum_to(a.exec(), products, sums);
  return sums.reshape({a.size(0), a.size(2)});
}

}  // namespace

const OptimizerKind kSoap = kind_of<Soap, SoapOptions>("soap");

Soap::Soap(const Parameters& parameters, const SoapOptions& options)
    : MatrixOptimizer("soap", parameters, options, has_side(options.max_precond_dim)),
      refresh_every_(options.refresh_every),
      max_precond_dim_(options.max_precond_dim) {
  check_count("soap", "refresh_every", refresh_every_);
  check_count("soap", "max_precond_dim", max_precond_dim_);
  for (Slot* slot : matrix_slots()) {
    add_adam_state(*slot);
    add_side_states(*slot, max_precond_dim_, {"average", "basis"});
  }
}

void Soap::find_bases(Slot& slot) const {
  for (const Side side : sides_of(matrix_shape(slot.parameter), max_precond_dim_)) {
    const linalg::Eigen eigen = linalg::eigh(slot.state.at(side_key(side, "average")));
    copy(linalg::product(eigen.vectors, sorting_permutation(eigen.values)), slot.state.at(side_key(side, "basis")));
  }
}

void Soap::refresh_bases(Slot& slot) const {
  const Shape matrix = matrix_shape(slot.parameter);
  const Array m = slot.state.at("exp_avg").reshape(matrix), v = slot.state.at("exp_avg_sq").reshape(matrix);
  for (const Side side : sides_of(matrix, max_precond_dim_)) {
    const Array& basis = slot.state.at(side_key(side, "basis"));
    const Array image = linalg::product(slot.state.at(side_key(side, "average")), basis);
    const Array permutation = sorting_permutation(column_products(basis, image));
    const Array fresh = linalg::orthonormal_columns(linalg::product(image, permutation));
    copy(multiply_side(permutation.transpose(1, 2), side, v), v);
    copy(multiply_side(linalg::product(fresh.transpose(1, 2), basis), side, m), m);
    copy(fresh, basis);
  }
}

void Soap::update_matrix(Slot& slot, const Update& update) {
  const Shape matrix = matrix_shape(slot.parameter);
  const auto sides = sides_of(matrix, max_precond_dim_);
  const Array gradient = matrix_gradient(slot, update);
  const Dim number = slot.steps() - 1;  // the first step has no bases yet
  if (number > 0) {
    Array rotated = gradient;
    for (const Side side : sides) {
      rotated = multiply_side(slot.state.at(side_key(side, "basis")).transpose(1, 2), side, rotated);
    }
    Array direction = adam_direction(adam(), number, rotated, slot.state.at("exp_avg").reshape(matrix),
                                     slot.state.at("exp_avg_sq").reshape(matrix));
    for (const Side side : sides) direction = multiply_side(slot.state.at(side_key(side, "basis")), side, direction);
    move_weight(slot, update, update.lr, direction);
  }
  for (const Side side : sides) {
    add_to_average(slot.state.at(side_key(side, "average")), adam().beta2, side, gradient);
  }
  if (number == 0) find_bases(slot);
  else if (refreshes(slot, refresh_every_)) refresh_bases(slot);
}

}  // namespace ashlar::optim
