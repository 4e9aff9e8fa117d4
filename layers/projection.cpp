#include "layers/projection.h"

#include <cmath>

#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

// The weighed sum of squares of a (out, in) matrix.
double weighed_squares(const std::vector<double>& values, const Shape& shape, const ProjectionOptions& options) {
  const Dim rows = shape[0], columns = shape[1];
  const std::vector<double> weights = options.row_weights.defined() ? options.row_weights.to_vector<double>()
                                                                    : std::vector<double>(static_cast<std::size_t>(rows), 1);
  // The rows of W and of W M have the products that the trace sums up.
  const Array matrix = Array::from(values, shape);
  const Array other = options.input_moments.defined() ? linalg::product(matrix, options.input_moments.to(DType::f64)) : matrix;
  double sum = 0;
  for (Dim row = 0; row < rows; ++row) {
    for (Dim i = row * columns; i < (row + 1) * columns; ++i) {
      sum += weights[static_cast<std::size_t>(row)] * matrix.data<double>()[i] * other.data<double>()[i];
    }
  }
  return std::max(sum, 0.0);
}

}  // namespace

Factorizer parse_factorizer(std::string_view name) {
  if (name == "precgd") return Factorizer::precgd;
  ASHLAR_CHECK(name == "als", "factorizer '", name, "' is unknown; use precgd or als");
  return Factorizer::als;
}

double projection_error(const Array& approximation, const Array& dense, const ProjectionOptions& options) {
  ASHLAR_CHECK(approximation.shape() == dense.shape() && dense.ndim() == 2, "projection_error: shapes ", approximation.shape(),
               " and ", dense.shape(), " must be equal, and those of matrices");
  std::vector<double> difference = approximation.to_vector<double>();
  const std::vector<double> values = dense.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) difference[i] -= values[i];
  const double error = weighed_squares(difference, dense.shape(), options);
  return error == 0 ? 0 : std::sqrt(error / weighed_squares(values, dense.shape(), options));
}

}  // namespace ashlar
