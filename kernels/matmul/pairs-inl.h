// What the small products of bf16 share, by AVX-512 or by AMX: b packed in pairs of rows, and how a sum becomes a result.
#pragma once
#include <hwy/cache_control.h>

#include "kernels/bf16-inl.h"
#include "kernels/matmul/problem.h"

#if defined(__x86_64__)

namespace ashlar::kernels::products {
namespace {

// Whether a thread may pack b for itself: of bf16 by rows, and small enough to stay in the second-level cache.
inline bool can_pack_pairs(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 16;
  const bool bf16 = p.a.dtype == DType::bf16 && p.b.dtype == DType::bf16;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y));
  return bf16 && rows && p.k() > 0 && p.k() <= 1024 && p.k() * p.n() <= kMostValues;
}

}  // namespace
}  // namespace ashlar::kernels::products

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)

namespace ashlar::kernels::products {
namespace {

constexpr Dim kLanes = kPairLanes;

// y = or += sum, for a vector of a row or for half of one.
HWY_INLINE void finish(bool accumulate, __m512 sum, __mmask16 mask, float* y) {
  if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, y));
  _mm512_mask_storeu_ps(y, mask, sum);
}
HWY_INLINE void finish(bool accumulate, __m512 sum, __mmask16 mask, bfloat16* y) {
  if (accumulate) sum = _mm512_add_ps(sum, widen(_mm256_maskz_loadu_epi16(mask, y)));
  _mm256_mask_storeu_epi16(y, mask, rounded(sum));
}
HWY_INLINE void finish(bool accumulate, __m256 sum, __mmask8 mask, float* y) {
  if (accumulate) sum = _mm256_add_ps(sum, _mm256_maskz_loadu_ps(mask, y));
  _mm256_mask_storeu_ps(y, mask, sum);
}
HWY_INLINE void finish(bool accumulate, __m256 sum, __mmask8 mask, bfloat16* y) {
  if (accumulate) sum = _mm256_add_ps(sum, widen(_mm_maskz_loadu_epi16(mask, y)));
  _mm_mask_storeu_epi16(y, mask, rounded(sum));
}

// to (rows / 2, width): pairs of rows, with zeros for a missing last row and in the columns beyond.  from (rows, columns)
inline void pack_pairs(const bfloat16* from, Dim step, Dim rows, Dim columns, Dim width, Pair* to) {
  constexpr Dim kAhead = 8;
  for (Dim row = 0; row < rows; row += 2, from += 2 * step, to += width) {
    for (Dim column = 0; column < columns; column += 64 / static_cast<Dim>(sizeof(bfloat16))) {
      hwy::Prefetch(from + kAhead * step + column);
      hwy::Prefetch(from + (kAhead + 1) * step + column);
    }
    for (Dim column = 0; column < width; column += kLanes) {
      const Dim count = std::min(columns - column, kLanes);
      const auto mask = static_cast<__mmask16>((1u << count) - 1), mask_2 = static_cast<__mmask16>(row + 1 < rows ? mask : 0);
      const __m256i first = _mm256_maskz_loadu_epi16(mask, from + column);
      _mm512_storeu_si512(to + column, pairs(first, _mm256_maskz_loadu_epi16(mask_2, from + step + column)));
    }
  }
}

}  // namespace
}  // namespace ashlar::kernels::products

HWY_POP_ATTRIBUTES
#endif
