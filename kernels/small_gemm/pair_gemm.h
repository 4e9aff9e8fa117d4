// SmallGemm of bf16, for the processors that multiply it.
#pragma once
#include "kernels/small_gemm/pairs.h"

namespace ashlar::kernels {

// C[m,n] (+)= A[m,k] B[k,n] + bias[n], summed in f32 and, for a C in bf16, rounded once.
//   A: its rows (m, k).
//   B: packed by pack_pairs or pack_pairs_transposed, of k rows or more, `strip` = strip_pairs of those.
// The leading dimensions are row strides in elements.
//   pack_pairs(v, 64, keys, 64, values);
//   const PairGemm weigh{.m = 48, .n = 64, .k = keys, .lda = 512, .strip = strip_pairs(keys), .ldc = 64};
//   weigh(p, values, sums);
// By AMX while a UseAmx says so, by AVX-512 elsewhere. For one of them an element of C is a sum over k in a fixed order: its
// bits do not depend on m, n or its place in C.
struct PairGemm {
  Dim m = 0, n = 0, k = 0;
  Dim lda = 0, strip = 0, ldc = 0;
  bool accumulate = false;
  const float* bias = nullptr;  // none is added if null

  template <class C>  // float or bfloat16
  void operator()(const bfloat16* a, const Pair* b, C* c) const;
};

// Lends AMX to the products of this thread as long as it lives, in between which no other library may multiply. Only where
// has_amx() says so (kernels/matmul/library.h).
class UseAmx {
 public:
  explicit UseAmx(bool use);  // does nothing if not
  ~UseAmx();
  UseAmx(const UseAmx&) = delete;
  UseAmx& operator=(const UseAmx&) = delete;

 private:
  bool use_;
};

}  // namespace ashlar::kernels
