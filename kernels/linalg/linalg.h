// Decompositions by LAPACK, in f64 on the host, for projections. Matrices are row-major Arrays of f64.
#pragma once
#include "core/array.h"

namespace ashlar::linalg {

// a (M, N) = u diag(s) vt, with u (M, K), s (K) falling, vt (K, N), K = min(M, N).
struct Svd {
  Array u, s, vt;
};
Svd svd(const Array& a);

// x with a x = b: a (N, N) symmetric positive definite, b (N, C). Error if a is not positive definite.
Array solve_positive(const Array& a, const Array& b);

Array product(const Array& a, const Array& b);  // (…, M, K) (…, K, N)
double frobenius(const Array& a);

}  // namespace ashlar::linalg
