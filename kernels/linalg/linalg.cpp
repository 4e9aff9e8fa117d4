#include "kernels/linalg/linalg.h"

#include <lapacke.h>

#include <cmath>

#include "kernels/matmul/matmul.h"

namespace ashlar::linalg {

Svd svd(const Array& a) {
  const Dim m = a.size(0), n = a.size(1), k = std::min(m, n);
  Array work = a.to(DType::f64).clone();
  Svd result{Array::empty({m, k}, DType::f64), Array::empty({k}, DType::f64), Array::empty({k, n}, DType::f64)};
  const auto failure = LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                                      work.data<double>(), static_cast<lapack_int>(n), result.s.data<double>(),
                                      result.u.data<double>(), static_cast<lapack_int>(k), result.vt.data<double>(),
                                      static_cast<lapack_int>(n));
  if (failure != 0) throw Error(concat("svd of a ", a.shape(), " matrix: did not converge (LAPACK dgesdd, ", failure, ")"));
  return result;
}

Array solve_positive(const Array& a, const Array& b) {
  const auto n = static_cast<lapack_int>(a.size(0)), columns = static_cast<lapack_int>(b.size(1));
  Array factor = a.clone(), x = b.clone();
  const auto failure = LAPACKE_dposv(LAPACK_ROW_MAJOR, 'L', n, columns, factor.data<double>(), n, x.data<double>(), columns);
  if (failure != 0) {
    throw Error(concat("solve: the ", a.shape(), " matrix is not positive definite (LAPACK dposv, ", failure, ")"));
  }
  return x;
}

Array product(const Array& a, const Array& b) {
  Array y = Array::empty(a.shape().with(-1, b.size(-1)), DType::f64);
  kernels::matmul(y.exec(), a, b, y, {});
  return y;
}

double frobenius(const Array& a) {
  double sum = 0;
  for (const double value : a.to_vector<double>()) sum += value * value;
  return std::sqrt(sum);
}

}  // namespace ashlar::linalg
