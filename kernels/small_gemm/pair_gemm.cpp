#include "kernels/small_gemm/pair_gemm.h"

#include <algorithm>

#include "kernels/bf16-inl.h"
#include "kernels/small_gemm/amx.h"

#if defined(__x86_64__)

#include <hwy/cache_control.h>

namespace ashlar::kernels {
namespace {

constexpr Dim kLanes = kPairLanes, kMostVectors = 4;

// Some strips of columns of one product.
struct Panel {
  const bfloat16* a;
  Dim lda, k;
  const Pair* b;
  Dim strip;
  const float* bias;  // or null
  Dim ldc;
  bool accumulate;
  std::uint16_t last;  // columns of the last vector, as bits
};

}  // namespace
}  // namespace ashlar::kernels

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)

namespace ashlar::kernels {
namespace {

// The pair at `a`; of the last one of an odd k only the first value exists.
template <bool kWhole>
HWY_INLINE int pair_at(const bfloat16* a) {
  Pair pair = 0;
  std::memcpy(&pair, a, kWhole ? sizeof(Pair) : sizeof(bfloat16));
  return static_cast<int>(pair);
}

// Sums of kRows rows: kVectors vectors, and half of one after them where kHalf says so. A last vector of eight columns or
// fewer is such a half, for which processors that take two passes for a whole one need only one.
template <int kRows, int kVectors, bool kHalf>
struct Sums {
  __m512 whole[kRows][std::max(kVectors, 1)];
  __m256 half[kRows];

  HWY_INLINE void clear() {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) whole[r][v] = _mm512_setzero_ps();
      if constexpr (kHalf) half[r] = _mm256_setzero_ps();
    }
  }
  template <bool kWholePair>
  HWY_INLINE void add_pair(const bfloat16* a, Dim lda, const Pair* b, Dim strip) {
    __m512i columns[std::max(kVectors, 1)];
    __m256i last;
    for (int v = 0; v < kVectors; ++v) columns[v] = _mm512_loadu_si512(b + v * strip);
    if constexpr (kHalf) last = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + kVectors * strip));
    for (int r = 0; r < kRows; ++r) {
      const __m512i row = _mm512_set1_epi32(pair_at<kWholePair>(a + r * lda));
      for (int v = 0; v < kVectors; ++v) whole[r][v] = add_products(whole[r][v], row, columns[v]);
      if constexpr (kHalf) half[r] = add_products(half[r], _mm512_castsi512_si256(row), last);
    }
  }
  template <class C>
  HWY_INLINE void finish_rows(const Panel& p, C* c) const {
    constexpr int kFull = kHalf ? kVectors : kVectors - 1;
    for (int v = 0; v < kVectors; ++v) {
      const auto mask = static_cast<__mmask16>(v < kFull ? 0xffff : p.last);
      const __m512 bias = p.bias ? _mm512_maskz_loadu_ps(mask, p.bias + v * kLanes) : _mm512_setzero_ps();
      for (int r = 0; r < kRows; ++r) {
        finish(p.accumulate, _mm512_add_ps(whole[r][v], bias), mask, c + r * p.ldc + v * kLanes);
      }
    }
    if constexpr (kHalf) {
      const auto mask = static_cast<__mmask8>(p.last);
      const __m256 bias = p.bias ? _mm256_maskz_loadu_ps(mask, p.bias + kVectors * kLanes) : _mm256_setzero_ps();
      for (int r = 0; r < kRows; ++r) {
        finish(p.accumulate, _mm256_add_ps(half[r], bias), mask, c + r * p.ldc + kVectors * kLanes);
      }
    }
  }
};

// The rows lie far apart, so that no processor foresees them: those of c and the next ones of a are fetched by hand.
template <int kRows, int kVectors, bool kHalf, class C>
HWY_INLINE void multiply_rows(const Panel& p, const bfloat16* a, C* c) {
  constexpr Dim kColumns = (kVectors + kHalf) * kLanes, kLine = 64 / sizeof(C);
  for (int r = 0; r < kRows; ++r) {
    for (Dim column = 0; column < kColumns; column += kLine) hwy::Prefetch(c + r * p.ldc + column);
    hwy::Prefetch(a + (kRows + r) * p.lda);
    hwy::Prefetch(a + (kRows + r) * p.lda + 32);
  }
  Sums<kRows, kVectors, kHalf> sums;
  sums.clear();
  const Pair* b = p.b;
  for (Dim pair = 0; pair < p.k / 2; ++pair, a += 2, b += kLanes) sums.template add_pair<true>(a, p.lda, b, p.strip);
  if (p.k % 2 != 0) sums.template add_pair<false>(a, p.lda, b, p.strip);
  sums.finish_rows(p, c);
}

// As many rows at a time as their accumulators, 24 or fewer, leave registers for the operands.
template <int kVectors, bool kHalf, class C>
void multiply_panel(const Panel& p, Dim rows, C* c) {
  constexpr int kWidth = kVectors + kHalf, kRows = kWidth == 1 ? 16 : 24 / kWidth;
  Dim r = 0;
  for (; r + kRows <= rows; r += kRows) multiply_rows<kRows, kVectors, kHalf>(p, p.a + r * p.lda, c + r * p.ldc);
  for (; r + 4 <= rows; r += 4) multiply_rows<4, kVectors, kHalf>(p, p.a + r * p.lda, c + r * p.ldc);
  for (; r < rows; ++r) multiply_rows<1, kVectors, kHalf>(p, p.a + r * p.lda, c + r * p.ldc);
}

template <int kWidth, class C>
void multiply_panel(const Panel& p, Dim rows, C* c) {
  if (p.last < 1 << 8) multiply_panel<kWidth - 1, true>(p, rows, c);
  else multiply_panel<kWidth, false>(p, rows, c);
}

template <class C>
void multiply_panel(const Panel& p, Dim vectors, Dim rows, C* c) {
  if (vectors == 4) multiply_panel<4>(p, rows, c);
  else if (vectors == 3) multiply_panel<3>(p, rows, c);
  else if (vectors == 2) multiply_panel<2>(p, rows, c);
  else multiply_panel<1>(p, rows, c);
}

}  // namespace
}  // namespace ashlar::kernels

HWY_POP_ATTRIBUTES

namespace ashlar::kernels {

template <class C>
void PairGemm::operator()(const bfloat16* a, const Pair* b, C* c) const {
  if (uses_amx()) return multiply_amx(*this, a, b, c);
  const Dim vectors = ceil_div(n, kLanes), panels = ceil_div(vectors, kMostVectors);
  for (Dim i = 0; i < panels; ++i) {  // of nearly equal width
    const Dim first = vectors * i / panels, end = vectors * (i + 1) / panels;
    const Dim column = first * kLanes, in_last = std::min(n, end * kLanes) - (end - 1) * kLanes;
    const Panel panel{.a = a,
                      .lda = lda,
                      .k = k,
                      .b = b + first * strip,
                      .strip = strip,
                      .bias = bias ? bias + column : nullptr,
                      .ldc = ldc,
                      .accumulate = accumulate,
                      .last = static_cast<std::uint16_t>((1u << in_last) - 1)};
    multiply_panel(panel, end - first, m, c + column);
  }
}

}  // namespace ashlar::kernels

#else

namespace ashlar::kernels {
template <class C>
void PairGemm::operator()(const bfloat16*, const Pair*, C*) const {}
}  // namespace ashlar::kernels

#endif

namespace ashlar::kernels {
template void PairGemm::operator()(const bfloat16*, const Pair*, float*) const;
template void PairGemm::operator()(const bfloat16*, const Pair*, bfloat16*) const;
}  // namespace ashlar::kernels
