// SmallGemm of bf16, for the processors that multiply it (multiplies_bf16()): their instruction adds the products of two
// neighbours in a sum at once, so that operands lie in pairs of them.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels {

using Pair = std::uint32_t;     // the first in the lower half
constexpr Dim kPairLanes = 16;  // pairs, or sums, of a vector

// C[m,n] (+)= A[m,k] B[k,n] + bias[n], summed in f32 and, for a C in bf16, rounded once.
//   B: pairs of its rows (ceil(k / 2), n), of a missing last row zeros. Whole vectors are read: ldb >= n rounded up to kPairLanes.
//   A: its rows (m, k) in bf16, or, given as pairs, pairs of its columns (ceil(k / 2), m).
// The leading dimensions are row strides in elements, of C in those of C.
//   pack_pairs(v, 64, keys, 64, 64, pairs);
//   const PairGemm weigh{.m = 48, .n = 64, .k = keys, .lda = 512, .ldb = 64, .ldc = 64};
//   weigh(p, pairs, sums);
// An element of C is a sum over k in ascending order, a pair at a time: its bits do not depend on m, n or its place in C.
struct PairGemm {
  Dim m = 0, n = 0, k = 0;
  Dim lda = 0, ldb = 0, ldc = 0;
  bool accumulate = false;
  const float* bias = nullptr;  // none is added if null

  template <class A, class C>  // A bfloat16 or Pair, C float or bfloat16
  void operator()(const A* a, const Pair* b, C* c) const;
};

// to (ceil(rows / 2), width) = the pairs of rows of `from` (rows, columns), with zeros for a missing last row and in the
// columns beyond; width >= columns is a multiple of kPairLanes. f32 values are rounded.
void pack_pairs(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to);
void pack_pairs(const float* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to);
// The same of its transpose: to (ceil(columns / 2), width), width >= rows.
void pack_pairs_transposed(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to);

// to (rows, columns) = factor * from, rounded.
void round_rows(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns, float factor = 1);

}  // namespace ashlar::kernels
