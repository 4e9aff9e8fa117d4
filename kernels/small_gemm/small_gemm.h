// A matrix product on pieces that fit in the cache, for use by one thread inside a fused kernel: no threads, no
// allocation, no set-up. Larger products belong to kernels/matmul.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels {

// C[m,n] (+)= op(A)[m,k] B[k,n] + bias[n], all row-major; op(A) = Aᵀ, with A stored (k, m), if trans_a. The leading
// dimensions are row strides in elements. B is read in whole rows: a transposed B is best packed by its user
// (pack_transposed).
//   const SmallGemm<float> scores{.m = 64, .n = 64, .k = 32, .lda = 32, .ldb = 64, .ldc = 64};
//   scores(q, k_transposed, s);
// An element of C is a sum over k in ascending order, in runs of kRun whose sums are added in turn (fused
// multiply-adds where the processor has them): its bits do not depend on m, n or its place in C.
template <class T>
struct SmallGemm {
  static constexpr Dim kRun = 256;
  Dim m = 0, n = 0, k = 0;
  Dim lda = 0, ldb = 0, ldc = 0;
  bool trans_a = false, accumulate = false;
  const T* bias = nullptr;  // none is added if null
  bool prefetch = false;    // for operands outside the first-level cache whose rows lie far apart

  void operator()(const T* a, const T* b, T* c) const;
};

// to[c * ld_to + r] = from[r * ld_from + c] for r < rows, c < columns.
void pack_transposed(const float* from, Dim rows, Dim columns, Dim ld_from, float* to, Dim ld_to);
void pack_transposed(const double* from, Dim rows, Dim columns, Dim ld_from, double* to, Dim ld_to);

}  // namespace ashlar::kernels
