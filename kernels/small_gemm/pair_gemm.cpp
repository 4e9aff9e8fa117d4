#include "kernels/small_gemm/pair_gemm.h"

#include <algorithm>
#include <type_traits>

#include "kernels/bf16-inl.h"
#include "kernels/rounding.h"

#if defined(__x86_64__)

#include <hwy/cache_control.h>

namespace ashlar::kernels {
namespace {

constexpr Dim kLanes = kPairLanes, kMostVectors = 4;

// Some columns of one product: a in pairs along k, at any two steps.
struct Panel {
  const bfloat16* a;  // of the first row
  Dim row_step, pair_step;
  Dim inner;  // values of a row of a: k, or rounded up to pairs
  const Pair* b;
  Dim ldb;
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
  HWY_INLINE void add_pair(const bfloat16* a, Dim row_step, const Pair* b) {
    __m512i columns[std::max(kVectors, 1)];
    __m256i last;
    for (int v = 0; v < kVectors; ++v) columns[v] = _mm512_loadu_si512(b + v * kLanes);
    if constexpr (kHalf) last = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + kVectors * kLanes));
    for (int r = 0; r < kRows; ++r) {
      const __m512i row = _mm512_set1_epi32(pair_at<kWholePair>(a + r * row_step));
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
    hwy::Prefetch(a + (kRows + r) * p.row_step);
    hwy::Prefetch(a + (kRows + r) * p.row_step + 32);
  }
  Sums<kRows, kVectors, kHalf> sums;
  sums.clear();
  const Pair* b = p.b;
  for (Dim k = 0; k < p.inner / 2; ++k, a += p.pair_step, b += p.ldb) sums.template add_pair<true>(a, p.row_step, b);
  if (p.inner % 2 != 0) sums.template add_pair<false>(a, p.row_step, b);
  sums.finish_rows(p, c);
}

// As many rows at a time as their accumulators, 24 or fewer, leave registers for the operands.
template <int kVectors, bool kHalf, class C>
void multiply_panel(const Panel& p, Dim rows, C* c) {
  constexpr int kWidth = kVectors + kHalf, kRows = kWidth == 1 ? 16 : 24 / kWidth;
  Dim r = 0;
  for (; r + kRows <= rows; r += kRows) multiply_rows<kRows, kVectors, kHalf>(p, p.a + r * p.row_step, c + r * p.ldc);
  for (; r + 4 <= rows; r += 4) multiply_rows<4, kVectors, kHalf>(p, p.a + r * p.row_step, c + r * p.ldc);
  for (; r < rows; ++r) multiply_rows<1, kVectors, kHalf>(p, p.a + r * p.row_step, c + r * p.ldc);
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

// The first `count` values of a row, 16 or fewer, as bf16; zeros after them.
HWY_INLINE __m256i load_rounded(const bfloat16* from, Dim count) {
  return _mm256_maskz_loadu_epi16(first_lanes(count), from);
}
HWY_INLINE __m256i load_rounded(const float* from, Dim count) {
  return rounded(_mm512_maskz_loadu_ps(first_lanes(count), from));
}

template <class T>
void pack_rows(const T* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to) {
  constexpr Dim kAhead = 8, kLine = 64 / static_cast<Dim>(sizeof(T));
  for (Dim row = 0; row < rows; row += 2, from += 2 * ld_from, to += width) {
    for (Dim column = 0; column < columns; column += kLine) {
      hwy::Prefetch(from + kAhead * ld_from + column);
      hwy::Prefetch(from + (kAhead + 1) * ld_from + column);
    }
    for (Dim column = 0; column < width; column += kLanes) {
      const Dim count = columns - column;
      const __m256i first = load_rounded(from + column, count);
      const __m256i second = row + 1 < rows ? load_rounded(from + ld_from + column, count) : _mm256_setzero_si256();
      _mm512_storeu_si512(to + column, pairs(first, second));
    }
  }
}

// The transpose of 16 rows of 16 pairs: neighbours are exchanged among rows two apart within a quarter of a vector, then the
// quarters.
HWY_INLINE void transpose(__m512i (&rows)[kLanes]) {
  __m512i two[kLanes], four[kLanes];
  for (int i = 0; i < 16; i += 2) {
    two[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    two[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
    four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
    four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
    four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i even = _mm512_shuffle_i32x4(four[c], four[c + 4], 0x88), odd = _mm512_shuffle_i32x4(four[c], four[c + 4], 0xdd);
    const __m512i even_2 = _mm512_shuffle_i32x4(four[c + 8], four[c + 12], 0x88);
    const __m512i odd_2 = _mm512_shuffle_i32x4(four[c + 8], four[c + 12], 0xdd);
    rows[c] = _mm512_shuffle_i32x4(even, even_2, 0x88);
    rows[c + 4] = _mm512_shuffle_i32x4(odd, odd_2, 0x88);
    rows[c + 8] = _mm512_shuffle_i32x4(even, even_2, 0xdd);
    rows[c + 12] = _mm512_shuffle_i32x4(odd, odd_2, 0xdd);
  }
}

void pack_columns(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to) {
  for (Dim row = 0; row < width; row += kLanes) {
    for (Dim column = 0; column < columns; column += 2 * kLanes) {
      const auto mask = first_lanes_32(columns - column);
      __m512i block[kLanes];
      for (Dim r = 0; r < kLanes; ++r) {
        const bfloat16* const at = from + (row + r) * ld_from + column;
        hwy::Prefetch(at + kLanes * ld_from);
        block[r] = row + r < rows ? _mm512_maskz_loadu_epi16(mask, at) : _mm512_setzero_si512();
      }
      transpose(block);
      Pair* const at = to + column / 2 * width + row;
      const Dim count = std::min(ceil_div(columns - column, 2), kLanes);
      for (Dim c = 0; c < count; ++c) _mm512_storeu_si512(at + c * width, block[c]);
    }
  }
}

void round_row(const float* from, bfloat16* to, Dim columns, float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (Dim column = 0; column < columns; column += kLanes) {
    const auto mask = first_lanes(columns - column);
    _mm256_mask_storeu_epi16(to + column, mask, rounded(_mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask, from + column))));
  }
}

}  // namespace
}  // namespace ashlar::kernels

HWY_POP_ATTRIBUTES

namespace ashlar::kernels {

template <class A, class C>
void PairGemm::operator()(const A* a, const Pair* b, C* c) const {
  constexpr bool kPacked = std::is_same_v<A, Pair>;
  const Dim vectors = ceil_div(n, kLanes), panels = ceil_div(vectors, kMostVectors);
  for (Dim i = 0; i < panels; ++i) {  // of nearly equal width
    const Dim first = vectors * i / panels, end = vectors * (i + 1) / panels;
    const Dim column = first * kLanes, in_last = std::min(n, end * kLanes) - (end - 1) * kLanes;
    const Panel panel{.a = reinterpret_cast<const bfloat16*>(a),
                      .row_step = kPacked ? 2 : lda,
                      .pair_step = kPacked ? 2 * lda : 2,
                      .inner = kPacked ? round_up(k, 2) : k,
                      .b = b + column,
                      .ldb = ldb,
                      .bias = bias ? bias + column : nullptr,
                      .ldc = ldc,
                      .accumulate = accumulate,
                      .last = static_cast<std::uint16_t>((1u << in_last) - 1)};
    multiply_panel(panel, end - first, m, c + column);
  }
}

void pack_pairs(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to) {
  pack_rows(from, ld_from, rows, columns, width, to);
}
void pack_pairs(const float* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to) {
  pack_rows(from, ld_from, rows, columns, width, to);
}
void pack_pairs_transposed(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Dim width, Pair* to) {
  pack_columns(from, ld_from, rows, columns, width, to);
}
void round_rows(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns, float factor) {
  for (Dim r = 0; r < rows; ++r) round_row(from + r * ld_from, to + r * ld_to, columns, factor);
}

}  // namespace ashlar::kernels

#else

namespace ashlar::kernels {
template <class A, class C>
void PairGemm::operator()(const A*, const Pair*, C*) const {}
void pack_pairs(const bfloat16*, Dim, Dim, Dim, Dim, Pair*) {}
void pack_pairs(const float*, Dim, Dim, Dim, Dim, Pair*) {}
void pack_pairs_transposed(const bfloat16*, Dim, Dim, Dim, Dim, Pair*) {}
void round_rows(const float*, Dim, bfloat16*, Dim, Dim, Dim, float) {}
}  // namespace ashlar::kernels

#endif

namespace ashlar::kernels {
template void PairGemm::operator()(const bfloat16*, const Pair*, float*) const;
template void PairGemm::operator()(const bfloat16*, const Pair*, bfloat16*) const;
template void PairGemm::operator()(const Pair*, const Pair*, float*) const;
template void PairGemm::operator()(const Pair*, const Pair*, bfloat16*) const;
}  // namespace ashlar::kernels
