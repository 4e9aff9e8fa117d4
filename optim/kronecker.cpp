#include "optim/kronecker.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"

namespace ashlar::optim {

std::string side_key(Side side, const std::string& what) { return (side == Side::left ? "left_" : "right_") + what; }

std::vector<Side> sides_of(const Shape& matrix, Dim max_dim) {
  std::vector<Side> sides;
  if (matrix[1] <= max_dim) sides.push_back(Side::left);
  if (matrix[2] <= max_dim) sides.push_back(Side::right);
  return sides;
}

std::function<bool(const Parameter&)> has_side(Dim max_dim) {
  return [max_dim](const Parameter& p) { return is_hidden_matrix(p) && !sides_of(matrix_shape(p), max_dim).empty(); };
}

void add_side_states(Slot& slot, Dim max_dim, std::initializer_list<const char*> whats) {
  const Shape matrix = matrix_shape(slot.parameter);
  for (const Side side : sides_of(matrix, max_dim)) {
    const Dim n = side == Side::left ? matrix[1] : matrix[2];
    for (const char* what : whats) slot.add_state(side_key(side, what), {matrix[0], n, n}, slot.parameter.tensor.dtype());
  }
}

void add_to_average(const Array& average, double beta, Side side, const Array& g) {
  const Array fresh = linalg::gram(side == Side::left ? g.transpose(1, 2) : g);
  kernels::linear_combination(g.exec(), average, beta, fresh, 1 - beta, average);
}

Array multiply_side(const Array& p, Side side, const Array& x) {
  return side == Side::left ? linalg::product(p, x) : linalg::product(x, p.transpose(1, 2));
}

}  // namespace ashlar::optim
