#include "kernels/linalg/linalg.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"

extern "C" void openblas_set_num_threads(int count);  // cblas.h may be another library's

namespace ashlar::linalg {
namespace {

// LAPACK's names by dtype. Its matrices are column-major: a symmetric matrix is its own transpose, and a batch of
// rows b (M, N) is the matrix bᵀ of right-hand sides. Where neither helps, LAPACKE transposes.
lapack_int syevd(lapack_int n, float* a, float* w) { return LAPACKE_ssyevd(LAPACK_ROW_MAJOR, 'V', 'L', n, a, n, w); }
lapack_int syevd(lapack_int n, double* a, double* w) { return LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'L', n, a, n, w); }
lapack_int geqrf(lapack_int n, float* a, float* tau) { return LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, n, n, a, n, tau); }
lapack_int geqrf(lapack_int n, double* a, double* tau) { return LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, n, n, a, n, tau); }
lapack_int orgqr(lapack_int n, float* a, const float* tau) {
  return LAPACKE_sorgqr(LAPACK_ROW_MAJOR, n, n, n, a, n, tau);
}
lapack_int orgqr(lapack_int n, double* a, const double* tau) {
  return LAPACKE_dorgqr(LAPACK_ROW_MAJOR, n, n, n, a, n, tau);
}
lapack_int potrf(lapack_int n, float* a) { return LAPACKE_spotrf(LAPACK_COL_MAJOR, 'L', n, a, n); }
lapack_int potrf(lapack_int n, double* a) { return LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, a, n); }
lapack_int potrs(lapack_int n, lapack_int m, const float* a, float* b) {
  return LAPACKE_spotrs(LAPACK_COL_MAJOR, 'L', n, m, a, n, b, n);
}
lapack_int potrs(lapack_int n, lapack_int m, const double* a, double* b) {
  return LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', n, m, a, n, b, n);
}

template <class Body>
void dispatch(std::string_view operation, DType dtype, const Body& body) {
  if (dtype == DType::f32) return body.template operator()<float>();
  ASHLAR_CHECK(dtype == DType::f64, operation, ": needs f32 or f64, got ", dtype);
  body.template operator()<double>();
}

template <class T>
void check_finite(std::string_view operation, const Array& a) {
  const T* values = a.data<T>();
  for (Dim i = 0; i < a.numel(); ++i) {
    if (!std::isfinite(values[i])) throw Error(concat(operation, " of ", a.shape(), ": a value is not finite"));
  }
}

// Has OpenBLAS decompose one matrix of this size on as many threads as pay, and otherwise on the caller's alone. Its threads
// are not OpenMP's: those that wait keep the processor from the others, which makes thousands of small decompositions several
// times slower.
void set_library_threads(Dim size) {
  constexpr Dim kWorthThreads = 512;
  openblas_set_num_threads(size >= kWorthThreads ? num_threads() : 1);
}

// Calls body(k, size, pointer to matrix k) for every matrix of the square batch `a`, which it may overwrite; body
// returns LAPACK's verdict. A small batch stays on one thread: a projection solves thousands of them, one after another, and
// waking another thread for each takes longer.
template <class T, class Body>
void for_each_matrix(std::string_view operation, const char* failure, const Array& a, const Body& body) {
  const Dim n = a.size(2);
  T* matrices = a.data<T>();
  set_library_threads(a.size(0) == 1 ? n : 0);
  constexpr Dim kGrain = Dim{1} << 17;  // in n³
  parallel_for(a.size(0), kGrain / std::max<Dim>(n * n * n, 1) + 1, [&](Dim begin, Dim end) {
    for (Dim k = begin; k < end; ++k) {
      const auto verdict = body(k, static_cast<lapack_int>(n), matrices + k * n * n);
      if (verdict != 0) {
        throw Error(concat(operation, ": matrix ", k, " of ", a.shape(), " ", failure, " (LAPACK: ", verdict, ")"));
      }
    }
  });
}

void check_square(std::string_view operation, const Array& a) {
  ASHLAR_CHECK(a.ndim() == 3 && a.size(1) == a.size(2), operation, ": needs (batch, N, N), got ", a.shape());
}

}  // namespace

Svd svd(const Array& a) {
  ASHLAR_CHECK(a.ndim() == 2, "svd: needs one matrix (M, N), got ", a.shape());
  const Dim m = a.size(0), n = a.size(1), k = std::min(m, n);
  Array work = a.to(Device{}).to(DType::f64).clone();
  check_finite<double>("svd", work);
  set_library_threads(k);
  Svd result{Array::empty({m, k}, DType::f64), Array::empty({k}, DType::f64), Array::empty({k, n}, DType::f64)};
  const auto failure = LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                                      work.data<double>(), static_cast<lapack_int>(n), result.s.data<double>(),
                                      result.u.data<double>(), static_cast<lapack_int>(k), result.vt.data<double>(),
                                      static_cast<lapack_int>(n));
  if (failure != 0) throw Error(concat("svd of a ", a.shape(), " matrix: did not converge (LAPACK dgesdd, ", failure, ")"));
  return result;
}

Eigen eigh(const Array& a) {
  check_square("eigh", a);
  const Eigen result{Array::empty({a.size(0), a.size(2)}, a.dtype()), a.to(Device{}).clone()};
  dispatch("eigh", a.dtype(), [&]<class T>() {
    check_finite<T>("eigh", result.vectors);
    for_each_matrix<T>("eigh", "did not converge", result.vectors, [&](Dim k, lapack_int n, T* matrix) {
      return syevd(n, matrix, result.values.data<T>() + k * n);
    });
  });
  return {result.values.to(a.device()), result.vectors.to(a.device())};
}

Array orthonormal_columns(const Array& a) {
  check_square("orthonormal_columns", a);
  const Array q = a.to(Device{}).clone();
  dispatch("orthonormal_columns", a.dtype(), [&]<class T>() {
    check_finite<T>("orthonormal_columns", q);
    for_each_matrix<T>("orthonormal_columns", "has no QR decomposition", q, [](Dim, lapack_int n, T* matrix) {
      std::vector<T> tau(static_cast<std::size_t>(n));
      const auto verdict = geqrf(n, matrix, tau.data());
      return verdict != 0 ? verdict : orgqr(n, matrix, tau.data());
    });
  });
  return q.to(a.device());
}

Array damped(const Array& a, const std::function<double(Dim k)>& damping) {
  check_square("damped", a);
  const Array result = a.to(Device{}).clone();
  const Dim n = a.size(2);
  dispatch("damped", a.dtype(), [&]<class T>() {
    for (Dim k = 0; k < a.size(0); ++k) {
      const auto delta = static_cast<T>(damping(k));
      for (Dim i = 0; i < n; ++i) result.data<T>()[(k * n + i) * n + i] += delta;
    }
  });
  return result.to(a.device());
}

std::vector<double> traces(const Array& a) {
  check_square("traces", a);
  const Dim n = a.size(2);
  std::vector<double> result(static_cast<std::size_t>(a.size(0)));
  const Array rows = a.to(Device{}).as_contiguous();
  dispatch("traces", a.dtype(), [&]<class T>() {
    for (Dim k = 0; k < a.size(0); ++k) {
      const T* matrix = rows.data<T>() + k * n * n;
      for (Dim i = 0; i < n; ++i) result[static_cast<std::size_t>(k)] += static_cast<double>(matrix[i * n + i]);
    }
  });
  return result;
}

Array cholesky(const Array& a) {
  check_square("cholesky", a);
  const Array factor = a.to(Device{}).clone();
  dispatch("cholesky", a.dtype(), [&]<class T>() {
    check_finite<T>("cholesky", factor);
    for_each_matrix<T>("cholesky", "is not positive definite; add to its diagonal with damped()", factor,
                       [](Dim, lapack_int n, T* matrix) { return potrf(n, matrix); });
  });
  return factor.to(a.device());
}

Array right_solve(const Array& factor, const Array& b) {
  check_square("right_solve", factor);
  ASHLAR_CHECK(b.ndim() == 3 && b.size(0) == factor.size(0) && b.size(2) == factor.size(2) && b.dtype() == factor.dtype(),
               "right_solve: b ", b.dtype(), " ", b.shape(), " does not fit the factor ", factor.dtype(), " ",
               factor.shape());
  const Array x = b.to(Device{}).clone();
  const Dim rows = b.size(1);
  dispatch("right_solve", b.dtype(), [&]<class T>() {
    const Array triangles = factor.to(Device{}).as_contiguous();
    for_each_matrix<T>("right_solve", "cannot be solved", triangles, [&](Dim k, lapack_int n, const T* matrix) {
      return potrs(n, static_cast<lapack_int>(rows), matrix, x.data<T>() + k * rows * n);
    });
  });
  return x.to(b.device());
}

Array product(const Array& a, const Array& b) {
  Array y = Array::empty(a.shape().with(-1, b.size(-1)), a.dtype(), a.device());
  kernels::matmul(y.exec(), a, b, y, {});
  return y;
}

Array gram(const Array& a) { return product(a.transpose(-2, -1), a); }

double frobenius(const Array& a) {
  const Array values = a.as_contiguous(), squares = Array::empty({1}, DType::f64, a.device());
  const ConstView view = values;
  kernels::sums_of_squares(a.exec(), {&view, 1}, squares);
  return std::sqrt(squares.item());
}

}  // namespace ashlar::linalg
