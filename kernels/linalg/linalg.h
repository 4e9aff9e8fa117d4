// Mathematics on whole matrices, which makes its results: Arrays in, Arrays out, no slots. Decompositions are LAPACK's, on the
// host, also of matrices on a GPU: these are waited for, brought over, and the result goes back to where its operand is (that
// of svd stays on the host). f32 or f64, as the input is, unless said otherwise. Decompositions throw Error for a
// value that is not finite, products pass it on.
#pragma once
#include <functional>

#include "core/array.h"

namespace ashlar::linalg {

// a (M, N) = u diag(s) vt in f64, with u (M, K), s (K) falling, vt (K, N), K = min(M, N).
struct Svd {
  Array u, s, vt;
};
Svd svd(const Array& a);

// Of symmetric matrices a (batch, N, N): a = vectors diag(values) vectorsᵀ, with values (batch, N) rising and the
// vectors in the columns of (batch, N, N).
struct Eigen {
  Array values, vectors;
};
Eigen eigh(const Array& a);

// Q of a = Q R, for a (batch, N, N): the first k columns of Q span what the first k columns of a do.
Array orthonormal_columns(const Array& a);

// a (batch, N, N) with damping(k) added to the diagonal of matrix k.
Array damped(const Array& a, const std::function<double(Dim k)>& damping);
// Of every matrix of a (batch, N, N).
std::vector<double> traces(const Array& a);

// Factors for right_solve of symmetric positive definite matrices a (batch, N, N). Error if one is not.
Array cholesky(const Array& a);
// x with x a = b: b (batch, M, N), `factor` = cholesky(a).
Array right_solve(const Array& factor, const Array& b);

Array product(const Array& a, const Array& b);  // (…, M, K) (…, K, N) -> (…, M, N); a has all batch dimensions
Array gram(const Array& a);                     // aᵀ a: (…, M, N) -> (…, N, N)
double frobenius(const Array& a);               // norm of all elements

}  // namespace ashlar::linalg
