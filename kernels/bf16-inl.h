// AVX-512's products of bf16, for files that are worth writing for them: the versions of Highway that are common have
// none. The instruction adds the products of two pairs of bf16 values to an f32 in each of 16 lanes. A file defines its
// kernels between HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET) and HWY_POP_ATTRIBUTES, without lambdas, and calls them only
// where multiplies_bf16() says so.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include <hwy/base.h>

#include "core/dtype.h"

#define ASHLAR_BF16_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"

#if HWY_COMPILER_GCC && !HWY_COMPILER_CLANG
// g++ 12 warns of the undefined values in its own header.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)

namespace ashlar::kernels {
namespace {

HWY_INLINE __m512bh as_bf16(__m512i bits) {
  __m512bh values;
  std::memcpy(&values, &bits, sizeof values);
  return values;
}
HWY_INLINE __m256bh as_bf16(__m256i bits) {
  __m256bh values;
  std::memcpy(&values, &bits, sizeof values);
  return values;
}
HWY_INLINE __m512 add_products(__m512 sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, as_bf16(a), as_bf16(b)); }
HWY_INLINE __m256 add_products(__m256 sum, __m256i a, __m256i b) { return _mm256_dpbf16_ps(sum, as_bf16(a), as_bf16(b)); }

// 16 pairs of a value of `first` and one of `second`.
HWY_INLINE __m512i pairs(__m256i first, __m256i second) {
  const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,  //
                                         39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  return _mm512_permutex2var_epi16(_mm512_castsi256_si512(first), order, _mm512_castsi256_si512(second));
}

HWY_INLINE __m512 widen(__m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
HWY_INLINE __m256 widen(__m128i values) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(values), 16));
}
HWY_INLINE __m256i rounded(__m512 values) {
  const __m256bh result = _mm512_cvtneps_pbh(values);
  __m256i bits;
  std::memcpy(&bits, &result, sizeof bits);
  return bits;
}
HWY_INLINE __m128i rounded(__m256 values) {
  const __m128bh result = _mm256_cvtneps_pbh(values);
  __m128i bits;
  std::memcpy(&bits, &result, sizeof bits);
  return bits;
}

// The first `count` lanes: none if it is negative, all of 16 or 32 if it is larger.
HWY_INLINE __mmask16 first_lanes(Dim count) { return static_cast<__mmask16>((1u << std::clamp<Dim>(count, 0, 16)) - 1); }
HWY_INLINE __mmask32 first_lanes_32(Dim count) {
  return static_cast<__mmask32>((std::uint64_t{1} << std::clamp<Dim>(count, 0, 32)) - 1);
}

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

}  // namespace
}  // namespace ashlar::kernels

HWY_POP_ATTRIBUTES
#endif
