#include "kernels/small_gemm/pairs.h"

#include "kernels/bf16-inl.h"

#if defined(__x86_64__)

#include <hwy/cache_control.h>

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)

namespace ashlar::kernels {
namespace {

constexpr Dim kLanes = kPairLanes;

// The values of a row that `mask` has, as bf16; zeros for the others.
HWY_INLINE __m256i load_rounded(const bfloat16* from, __mmask16 mask) { return _mm256_maskz_loadu_epi16(mask, from); }
HWY_INLINE __m256i load_rounded(const float* from, __mmask16 mask) { return rounded(_mm512_maskz_loadu_ps(mask, from)); }
// Their pairs for the first two of `rows` rows.
template <class T>
HWY_INLINE __m512i load_pairs(const T* from, Dim ld_from, Dim rows, __mmask16 mask) {
  const __m256i first = rows > 0 ? load_rounded(from, mask) : _mm256_setzero_si256();
  const __m256i second = rows > 1 ? load_rounded(from + ld_from, mask) : _mm256_setzero_si256();
  return pairs(first, second);
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

template <class T>
void transpose_rows(const T* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns) {
  for (Dim row = 0; row < rows; row += 2 * kLanes) {
    const __mmask32 stored = first_lanes_32(rows - row);
    for (Dim column = 0; column < columns; column += kLanes) {
      const __mmask16 loaded = first_lanes(columns - column);
      __m512i block[kLanes];
      for (Dim i = 0; i < kLanes; ++i) {
        const Dim r = row + 2 * i;
        block[i] = load_pairs(from + r * ld_from + column, ld_from, rows - r, loaded);
      }
      transpose(block);
      const Dim count = std::min(columns - column, kLanes);
      for (Dim c = 0; c < count; ++c) _mm512_mask_storeu_epi16(to + (column + c) * ld_to + row, stored, block[c]);
    }
  }
}

}  // namespace

void pack_pairs(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Pair* to) {
  constexpr Dim kAhead = 8, kLine = 64 / static_cast<Dim>(sizeof(bfloat16));
  const Dim strip = strip_pairs(rows);
  for (Dim row = 0; row < strip / kLanes * 2; row += 2, from += 2 * ld_from, to += kLanes) {
    for (Dim column = 0; column < columns && row < rows; column += kLine) {
      hwy::Prefetch(from + kAhead * ld_from + column);
      hwy::Prefetch(from + (kAhead + 1) * ld_from + column);
    }
    Pair* at = to;
    for (Dim column = 0; column < columns; column += kLanes, at += strip) {
      _mm512_storeu_si512(at, load_pairs(from + column, ld_from, rows - row, first_lanes(columns - column)));
    }
  }
}

void pack_pairs_transposed(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Pair* to) {
  for (Dim row = 0; row < rows; row += kLanes) {
    for (Dim column = 0; column < columns; column += 2 * kLanes, to += kLanes * kLanes) {
      const __mmask32 loaded = first_lanes_32(columns - column);
      __m512i block[kLanes];
      for (Dim r = 0; r < kLanes; ++r) {
        const bfloat16* const at = from + (row + r) * ld_from + column;
        hwy::Prefetch(at + kLanes * ld_from);
        block[r] = row + r < rows ? _mm512_maskz_loadu_epi16(loaded, at) : _mm512_setzero_si512();
      }
      transpose(block);
      for (Dim c = 0; c < kLanes; ++c) _mm512_storeu_si512(to + c * kLanes, block[c]);
    }
  }
}

void round_rows(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns, float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
  const Dim whole = columns / kLanes * kLanes;
  const __mmask16 rest = first_lanes(columns - whole);
  for (Dim r = 0; r < rows; ++r, from += ld_from, to += ld_to) {
    for (Dim column = 0; column < whole; column += kLanes) {
      const __m256i values = rounded(_mm512_mul_ps(scale, _mm512_loadu_ps(from + column)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + column), values);
    }
    if (rest == 0) continue;
    _mm256_mask_storeu_epi16(to + whole, rest, rounded(_mm512_mul_ps(scale, _mm512_maskz_loadu_ps(rest, from + whole))));
  }
}

void round_transposed(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns) {
  transpose_rows(from, ld_from, to, ld_to, rows, columns);
}
void round_transposed(const bfloat16* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns) {
  transpose_rows(from, ld_from, to, ld_to, rows, columns);
}

}  // namespace ashlar::kernels

HWY_POP_ATTRIBUTES

#else

namespace ashlar::kernels {
void pack_pairs(const bfloat16*, Dim, Dim, Dim, Pair*) {}
void pack_pairs_transposed(const bfloat16*, Dim, Dim, Dim, Pair*) {}
void round_rows(const float*, Dim, bfloat16*, Dim, Dim, Dim, float) {}
void round_transposed(const float*, Dim, bfloat16*, Dim, Dim, Dim) {}
void round_transposed(const bfloat16*, Dim, bfloat16*, Dim, Dim, Dim) {}
}  // namespace ashlar::kernels

#endif
