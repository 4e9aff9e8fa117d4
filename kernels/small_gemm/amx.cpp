#include "kernels/small_gemm/amx.h"

#if defined(__x86_64__)

#include <hwy/cache_control.h>

#include <atomic>

#include "kernels/bf16-inl.h"

namespace ashlar::kernels {
namespace {

// A register is a tile of 16 rows of 64 bytes: 16 x 16 sums, 16 rows of 32 values of a, or 16 pairs of rows of b for 16
// columns. One instruction adds the product of the latter two to the first. Tiles 0 to 3 are the sums of 32 rows and 32
// columns, 4 and 5 their rows of a, 6 and 7 their columns of b.
constexpr Dim kTileRows = 16, kDepth = 32, kLanes = kPairLanes;
constexpr Dim kTileBytes = 64, kTilePairs = kTileRows * kLanes;

// What LDTILECFG reads: eight tiles of full size.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace
}  // namespace ashlar::kernels

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET ",amx-tile,amx-bf16")

namespace ashlar::kernels {
namespace {

void configure_tiles() {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
}
void release_tiles() { _tile_release(); }

// The compiler does not know that tiles are loaded from memory.
HWY_INLINE void write_before_tiles() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// The product of kRowTiles x 16 rows of a, or fewer, and kStrips strips of b.
template <int kRowTiles, int kStrips>
struct Block {
  static constexpr Dim kRows = kRowTiles * kTileRows, kColumns = kStrips * kLanes;
  alignas(64) float sums[kRows * kColumns];
  alignas(64) std::uint16_t piece[kRows * kDepth];  // bits of a, where it ends within a tile

  HWY_INLINE void add_step(const void* a, Dim a_step, const Pair* b, Dim strip) {
    const Dim a_bytes = a_step * static_cast<Dim>(sizeof(bfloat16));
    _tile_loadd(4, a, a_bytes);
    if constexpr (kRowTiles == 2) _tile_loadd(5, static_cast<const std::byte*>(a) + kTileRows * a_bytes, a_bytes);
    _tile_loadd(6, b, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kRowTiles == 2) _tile_dpbf16ps(1, 5, 6);
    if constexpr (kStrips == 2) {
      _tile_loadd(7, b + strip, kTileBytes);
      _tile_dpbf16ps(2, 4, 7);
      if constexpr (kRowTiles == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }

  HWY_INLINE void copy_piece(const bfloat16* a, Dim a_step, Dim rows, Dim columns) {
    const __mmask32 loaded = first_lanes_32(columns);
    for (Dim r = 0; r < rows; ++r) {
      _mm512_store_si512(piece + r * kDepth, _mm512_maskz_loadu_epi16(loaded, a + r * a_step));
    }
    write_before_tiles();
  }

  // tiles = a b for `rows` rows of a. `ahead` rows further on lies what is multiplied next, or nowhere if 0.
  HWY_INLINE void multiply(const PairGemm& gemm, const bfloat16* a, Dim rows, Dim ahead, const Pair* b) {
    write_before_tiles();
    _tile_zero(0);
    if constexpr (kRowTiles == 2) _tile_zero(1);
    if constexpr (kStrips == 2) _tile_zero(2);
    if constexpr (kRowTiles == 2 && kStrips == 2) _tile_zero(3);
    Dim k = 0;
    for (; k + kDepth <= gemm.k && rows == kRows; k += kDepth, b += kTilePairs) {
      for (Dim r = 0; ahead > 0 && r < kRows; ++r) hwy::Prefetch(a + (ahead + r) * gemm.lda + k);
      add_step(a + k, gemm.lda, b, gemm.strip);
    }
    for (; k < gemm.k; k += kDepth, b += kTilePairs) {
      copy_piece(a + k, gemm.lda, rows, gemm.k - k);
      add_step(piece, kDepth, b, gemm.strip);
    }
  }

  HWY_INLINE void store(float* to, Dim step) const {
    const Dim row_bytes = step * static_cast<Dim>(sizeof(float));
    _tile_stored(0, to, row_bytes);
    if constexpr (kRowTiles == 2) _tile_stored(1, to + kTileRows * step, row_bytes);
    if constexpr (kStrips == 2) _tile_stored(2, to + kLanes, row_bytes);
    if constexpr (kRowTiles == 2 && kStrips == 2) _tile_stored(3, to + kTileRows * step + kLanes, row_bytes);
  }

  // c = or += the product and the bias.
  template <class C>
  HWY_INLINE void finish_rows(const PairGemm& gemm, Dim column, Dim rows, C* c) {
    const Dim columns = gemm.n - column, ldc = gemm.ldc;
    const bool accumulate = gemm.accumulate;
    c += column;
    if constexpr (std::is_same_v<C, float>) {
      if (!accumulate && !gemm.bias && rows == kRows && columns >= kColumns) return store(c, ldc);
    }
    store(sums, kColumns);
    for (Dim at = 0; at < kColumns; at += kLanes) {
      const __mmask16 mask = first_lanes(columns - at);
      const __m512 bias = gemm.bias ? _mm512_maskz_loadu_ps(mask, gemm.bias + column + at) : _mm512_setzero_ps();
      for (Dim r = 0; r < rows; ++r) {
        finish(accumulate, _mm512_add_ps(_mm512_load_ps(sums + r * kColumns + at), bias), mask, c + r * ldc + at);
      }
    }
  }
};

template <int kRowTiles, class C>
HWY_INLINE void multiply_rows(const PairGemm& gemm, const bfloat16* a, Dim rows, Dim ahead, const Pair* b, C* c) {
  Dim column = 0;
  for (; column + kLanes < gemm.n; column += 2 * kLanes, b += 2 * gemm.strip) {
    Block<kRowTiles, 2> block;
    block.multiply(gemm, a, rows, column == 0 ? ahead : 0, b);
    block.finish_rows(gemm, column, rows, c);
  }
  if (column < gemm.n) {
    Block<kRowTiles, 1> block;
    block.multiply(gemm, a, rows, column == 0 ? ahead : 0, b);
    block.finish_rows(gemm, column, rows, c);
  }
}

template <class C>
void multiply_all(const PairGemm& gemm, const bfloat16* a, const Pair* b, C* c) {
  constexpr Dim kRows = 2 * kTileRows;
  for (Dim row = 0; row < gemm.m; row += kRows, a += kRows * gemm.lda, c += kRows * gemm.ldc) {
    const Dim left = gemm.m - row;
    if (left > kTileRows) multiply_rows<2>(gemm, a, std::min(left, kRows), left >= 2 * kRows ? kRows : 0, b, c);
    else multiply_rows<1>(gemm, a, left, 0, b, c);
  }
}

}  // namespace
}  // namespace ashlar::kernels

HWY_POP_ATTRIBUTES

#else

namespace ashlar::kernels {
namespace {
void configure_tiles() {}
void release_tiles() {}
template <class C>
void multiply_all(const PairGemm&, const bfloat16*, const Pair*, C*) {}
}  // namespace
}  // namespace ashlar::kernels

#endif

namespace ashlar::kernels {
namespace {
thread_local bool in_use = false;
}  // namespace

UseAmx::UseAmx(bool use) : use_(use) {
  if (!use_) return;
  configure_tiles();
  in_use = true;
}
UseAmx::~UseAmx() {
  if (!use_) return;
  release_tiles();
  in_use = false;
}

bool uses_amx() { return in_use; }

template <class C>
void multiply_amx(const PairGemm& gemm, const bfloat16* a, const Pair* b, C* c) {
  multiply_all(gemm, a, b, c);
}
template void multiply_amx(const PairGemm&, const bfloat16*, const Pair*, float*);
template void multiply_amx(const PairGemm&, const bfloat16*, const Pair*, bfloat16*);

}  // namespace ashlar::kernels
