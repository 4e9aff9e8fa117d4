#include "layers/projection.h"

#include <algorithm>
#include <cmath>

#include "core/rounding.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

// The weighted sum of squares of a (out, in) matrix, f64 and contiguous.
double weighted_squares(const Array& matrix, const ProjectionOptions& options) {
  const Dim rows = matrix.size(0), columns = matrix.size(1);
  const std::vector<double> weights = options.row_weights.defined() ? options.row_weights.to_vector<double>()
                                                                    : std::vector<double>(static_cast<std::size_t>(rows), 1);
  // The rows of W and of W M have the products that the trace sums up.
  const Array other = options.input_moments.defined() ? linalg::product(matrix, options.input_moments.to(DType::f64)) : matrix;
  double sum = 0;
  for (Dim row = 0; row < rows; ++row) {
    for (Dim i = row * columns; i < (row + 1) * columns; ++i) {
      sum += weights[static_cast<std::size_t>(row)] * matrix.data<double>()[i] * other.data<double>()[i];
    }
  }
  return std::max(sum, 0.0);
}

// Q diag(f(values)) of the eigenvectors Q and eigenvalues of a symmetric matrix (n, n), and Q.
struct ScaledEigenvectors {
  Array scaled, vectors;
};
template <class F>
ScaledEigenvectors scaled_eigenvectors(const Array& symmetric, const F& f) {
  const Dim n = symmetric.size(0);
  const linalg::Eigen eigen = linalg::eigh(symmetric.to(DType::f64).as_contiguous().reshape({1, n, n}));
  const double* values = eigen.values.data<double>();
  const Array vectors = eigen.vectors.reshape({n, n}), scaled = vectors.clone();
  for (Dim i = 0; i < n * n; ++i) scaled.data<double>()[i] *= f(values[i % n], values[n - 1]);
  return {scaled, vectors};
}

// C with C Cᵀ = moments, symmetric and positive semidefinite up to rounding.
Array root_of(const Array& moments) {
  return scaled_eigenvectors(moments, [](double value, double) { return std::sqrt(std::max(0.0, value)); }).scaled;
}

// Pseudoinverse of a symmetric positive semidefinite matrix.
Array inverse_of(const Array& gram) {
  constexpr double kLeast = 1e-12;  // of the largest eigenvalue; what is below counts as 0
  const auto [scaled, vectors] = scaled_eigenvectors(
      gram, [](double value, double largest) { return value > kLeast * largest ? 1 / value : 0; });
  return linalg::product(scaled, vectors.transpose(0, 1));
}

// Scales column k of u and of v, keeping their outer product, so that both have the same norm.
void balance_columns(const Array& u, const Array& v) {
  for (Dim k = 0; k < u.size(1); ++k) {
    const Array left = u.slice(1, k, k + 1), right = v.slice(1, k, k + 1);
    const double left_norm = linalg::frobenius(left), right_norm = linalg::frobenius(right);
    if (left_norm == 0 || right_norm == 0) continue;
    kernels::scale(u.exec(), left, std::sqrt(right_norm / left_norm), left);
    kernels::scale(v.exec(), right, std::sqrt(left_norm / right_norm), right);
  }
}

}  // namespace

Factorizer parse_factorizer(std::string_view name) {
  if (name == "precgd") return Factorizer::precgd;
  ASHLAR_CHECK(name == "als", "factorizer '", name, "' is unknown; use precgd or als");
  return Factorizer::als;
}

Array weighted_matrix(const Array& dense, const ProjectionOptions& options, Dim in_blocks) {
  if (!options.weighted()) return dense;
  const Dim in = dense.size(1);
  const Array result = dense.clone();
  if (options.row_weights.defined()) {
    const auto weights = options.row_weights.to_vector<double>();
    for (Dim i = 0; i < dense.numel(); ++i) result.data<double>()[i] *= std::sqrt(weights[static_cast<std::size_t>(i / in)]);
    return result;
  }
  const Dim length = ceil_div(in, in_blocks);
  for (Dim begin = 0; begin < in; begin += length) {
    const Dim end = std::min(in, begin + length);
    const Array root = root_of(options.input_moments.slice(0, begin, end).slice(1, begin, end));
    copy(linalg::product(dense.slice(1, begin, end), root), result.slice(1, begin, end));
  }
  return result;
}

LowRankFactors nearest_of_rank(const Array& dense, const Array& scaled, const ProjectionOptions& options, Dim rank) {
  LowRankFactors f;
  if (options.input_moments.defined()) {
    // The left singular vectors P of W C: Ŵ = P Pᵀ W needs no inverse of C, which may be singular.
    f.u = linalg::svd(scaled).u.slice(1, 0, rank).clone();
    f.v = linalg::product(dense.transpose(0, 1), f.u);
  } else {
    // The right singular vectors Q of D W: Ŵ = W Q Qᵀ.
    f.v = linalg::svd(scaled).vt.slice(0, 0, rank).transpose(0, 1).clone();
    f.u = linalg::product(dense, f.v);
  }
  balance_columns(f.u, f.v);
  return f;
}

Array with_noise(const Array& input_moments) {
  const Dim n = input_moments.size(0);
  const Array moments = input_moments.to(DType::f64).as_contiguous().reshape({1, n, n});
  const double noise = kInputNoise * linalg::traces(moments)[0] / static_cast<double>(n);
  return linalg::damped(moments, [noise](Dim) { return noise; }).reshape({n, n});
}

namespace {

void refit_group(const Array& z, const Array& a, const Array& dense, const Array& input_moments) {
  const Array moved = linalg::product(z, a), at = a.transpose(0, 1);
  kernels::linear_combination(z.exec(), dense, 1.0, moved, -1.0, moved);
  const Array weighted_at = input_moments.defined() ? linalg::product(input_moments.to(DType::f64), at) : at;
  const Array step =
      linalg::product(linalg::product(moved, weighted_at), inverse_of(linalg::product(a, weighted_at)));
  kernels::linear_combination(z.exec(), z, 1.0, step, 1.0, z);
}

}  // namespace

void refit(const Array& z, const Array& a, const Array& dense, const Array& input_moments) {
  const Dim rows = dense.size(0), length = ceil_div(rows, a.size(0));
  for (Dim begin = 0; begin < rows; begin += length) {
    const Dim end = std::min(rows, begin + length);
    refit_group(z.slice(0, begin, end), a.select(0, begin / length), dense.slice(0, begin, end), input_moments);
  }
}

double projection_error(const Array& approximation, const Array& dense, const ProjectionOptions& options) {
  ASHLAR_CHECK(approximation.shape() == dense.shape() && dense.ndim() == 2, "projection_error: shapes ", approximation.shape(),
               " and ", dense.shape(), " must be equal, and those of matrices");
  const Array values = dense.to(Device{}).to(DType::f64).as_contiguous(), difference = empty_like(values);
  kernels::linear_combination(values.exec(), approximation.to(Device{}).to(DType::f64), 1.0, values, -1.0, difference);
  const double error = weighted_squares(difference, options);
  return error == 0 ? 0 : std::sqrt(error / weighted_squares(values, options));
}

}  // namespace ashlar
