#include "kernels/matmul/tiles_bf16.h"

#include <hwy/cache_control.h>

#include <atomic>

#include "kernels/bf16-inl.h"
#include "kernels/matmul/parts.h"
#include "kernels/small_gemm/pair_gemm.h"
#include "kernels/small_gemm/tile.h"

#if defined(__x86_64__)

namespace ashlar::kernels::products {
namespace {

// A register is a tile of 16 rows of 64 bytes: 16 x 16 sums, 16 rows of 32 values of a, or 16 pairs of rows of b for 16
// columns. One instruction adds the product of the latter two to the first. Tiles 0 to 3 are the sums of 32 rows and 32
// columns, 4 and 5 their rows of a, 6 and 7 their columns of b.
constexpr Dim kRows = 32, kColumns = 32, kDepth = 32, kLanes = kPairLanes;
constexpr Dim kTileBytes = 64, kTilePairs = 16 * kLanes;

// What LDTILECFG reads: eight tiles of full size.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// 32 rows of a, for `steps` times kDepth values of the sum.
struct Rows {
  const bfloat16* at;
  Dim row_step, steps;
};

// Where the sums of a block go.
template <class Y>
struct Target {
  Y* y;
  Dim row_step, rows, columns;
  const float* bias;  // or null
  bool accumulate;
};

}  // namespace
}  // namespace ashlar::kernels::products

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET ",amx-tile,amx-bf16")

namespace ashlar::kernels::products {
namespace {

void configure_tiles() {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
}
void release_tiles() { _tile_release(); }

// sums += a b for 32 rows and 16 or 32 columns; b (columns of tiles, steps, 16 pairs, kLanes), from one tile to that of the
// next columns `next`. `ahead` rows further on lies what is multiplied next, or nowhere if 0.
template <bool kTwo>
HWY_INLINE void add_tiles(const Rows& a, Dim ahead, const Pair* b, Dim next) {
  const Dim a_bytes = a.row_step * static_cast<Dim>(sizeof(bfloat16));
  const bfloat16* row = a.at;
  for (Dim step = 0; step < a.steps; ++step, row += kDepth, b += kTilePairs) {
    if (ahead > 0) {
      for (Dim r = 0; r < kRows; ++r) hwy::Prefetch(row + (ahead + r) * a.row_step);
    }
    _tile_loadd(4, row, a_bytes);
    _tile_loadd(5, row + 16 * a.row_step, a_bytes);
    _tile_loadd(6, b, kTileBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (kTwo) {
      _tile_loadd(7, b + next, kTileBytes);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// sums (kRows, kColumns) = a b, in which the values of a that `rest` has follow those of `whole`.
template <bool kTwo>
HWY_INLINE void multiply_tiles(const Rows& whole, const Rows& rest, Dim ahead, const Pair* b, Dim next, float* sums) {
  constexpr Dim kSumsBytes = kColumns * static_cast<Dim>(sizeof(float));
  // The compiler does not know that tiles are loaded from memory.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kTwo) {
    _tile_zero(2);
    _tile_zero(3);
  }
  add_tiles<kTwo>(whole, ahead, b, next);
  add_tiles<kTwo>(rest, 0, b + whole.steps * kTilePairs, next);
  _tile_stored(0, sums, kSumsBytes);
  _tile_stored(1, sums + 16 * kColumns, kSumsBytes);
  if constexpr (kTwo) {
    _tile_stored(2, sums + 16, kSumsBytes);
    _tile_stored(3, sums + 16 * kColumns + 16, kSumsBytes);
  }
}

template <class Y>
HWY_INLINE void finish_block(const float* sums, const Target<Y>& to) {
  for (Dim column = 0; column < to.columns; column += kLanes) {
    const auto mask = first_lanes(to.columns - column);
    const __m512 bias = to.bias ? _mm512_maskz_loadu_ps(mask, to.bias + column) : _mm512_setzero_ps();
    for (Dim r = 0; r < to.rows; ++r) {
      const __m512 sum = _mm512_add_ps(_mm512_load_ps(sums + r * kColumns + column), bias);
      finish(to.accumulate, sum, mask, to.y + r * to.row_step + column);
    }
  }
}

// y, 32 rows or fewer, of all columns in b (columns of tiles, pairs of the whole sum, kLanes).
template <class Y>
void multiply_block(const Rows& whole, const Rows& rest, Dim ahead, const Pair* b, Target<Y> to) {
  alignas(64) float sums[kRows * kColumns];
  const Dim next = (whole.steps + rest.steps) * kTilePairs, columns = to.columns;
  for (Dim column = 0; column < columns; column += kColumns, b += 2 * next) {
    const bool two = columns - column > kLanes;
    if (two) multiply_tiles<true>(whole, rest, ahead, b, next, sums);
    else multiply_tiles<false>(whole, rest, ahead, b, next, sums);
    ahead = 0;
    to.columns = std::min(columns - column, kColumns);
    finish_block(sums, to);
    to.y += kColumns;
    if (to.bias) to.bias += kColumns;
  }
}

// to (kRows, width), a multiple of kDepth: zeros where there is nothing.  from (rows, columns)
void copy_rows(const bfloat16* from, Dim step, Dim rows, Dim columns, Dim width, bfloat16* to) {
  for (Dim r = 0; r < kRows; ++r, from += step, to += width) {
    for (Dim column = 0; column < width; column += kDepth) {
      const Dim count = r < rows ? columns - column : 0;
      _mm512_store_si512(to + column, _mm512_maskz_loadu_epi16(first_lanes_32(count), from + column));
    }
  }
}

void pack_columns(const bfloat16* from, Dim step, Dim rows, Dim columns, Dim pairs, Pair* to) {
  for (Dim column = 0; column < columns; column += kLanes, to += pairs * kLanes) {
    pack_pairs(from + column, step, rows, std::min(columns - column, kLanes), kLanes, to);
    const Dim packed = ceil_div(rows, 2);
    std::memset(to + packed * kLanes, 0, static_cast<std::size_t>((pairs - packed) * kLanes) * sizeof(Pair));
  }
}

}  // namespace
}  // namespace ashlar::kernels::products

HWY_POP_ATTRIBUTES

namespace ashlar::kernels::products {
namespace {

// Multiplies one product of a batch after the other on one thread.
class TileMultiplier {
 public:
  explicit TileMultiplier(const Problem& p)
      : p_(p),
        depth_(round_up(p.k(), kDepth)),
        packed_(ceil_div(p.n(), kLanes) * kLanes * depth_ / 2),
        copied_(kRows * depth_) {
    configure_tiles();
  }
  ~TileMultiplier() { release_tiles(); }
  TileMultiplier(const TileMultiplier&) = delete;
  TileMultiplier& operator=(const TileMultiplier&) = delete;

  // Rows [begin, end) of a product.
  void operator()(Dim batch, Dim begin, Dim end) {
    pack_columns(p_.b.as<bfloat16>() + batch_offset(p_.b, batch), p_.b.step(-2), p_.k(), p_.n(), depth_ / 2, packed_.data());
    if (p_.y.dtype == DType::f32) multiply(batch, begin, end, p_.y.as<float>());
    else multiply(batch, begin, end, p_.y.as<bfloat16>());
  }

 private:
  template <class Y>
  void multiply(Dim batch, Dim begin, Dim end, Y* y) const {
    const bfloat16* const a = p_.a.as<bfloat16>() + batch_offset(p_.a, batch);
    const Dim step = p_.a.step(-2), in_whole = p_.k() / kDepth * kDepth;
    y += batch_offset(p_.y, batch);
    for (Dim row = begin; row < end; row += kRows) {
      const bfloat16* const at = a + row * step;
      const Dim rows = std::min(end - row, kRows), ahead = row + 2 * kRows <= end ? kRows : 0;
      Rows whole{at, step, in_whole / kDepth}, rest{copied_.data(), kDepth, 0};
      // Neither values beyond the end of a row nor rows beyond the last may be read.
      if (rows < kRows) {
        copy_rows(at, step, rows, p_.k(), depth_, copied_.data());
        whole = {copied_.data(), depth_, depth_ / kDepth};
      } else if (in_whole < p_.k()) {
        copy_rows(at + in_whole, step, rows, p_.k() - in_whole, kDepth, copied_.data());
        rest.steps = 1;
      }
      const Dim y_step = p_.y.step(-2);
      multiply_block(whole, rest, ahead, packed_.data(),
                     Target<Y>{y + row * y_step, y_step, rows, p_.n(), bias_of(p_, batch), p_.options.accumulate});
    }
  }

  const Problem& p_;
  Dim depth_;                 // of the sum, whole tiles
  Scratch<Pair> packed_;      // b: (columns of tiles, depth / 2, kLanes)
  Scratch<bfloat16> copied_;  // of a, 32 rows
};

}  // namespace

bool is_tiles_bf16(const Problem& p) {
  // Each thread packs b, for a batch only its own: with fewer rows than this that is not made up for.
  const Dim least = batch_shape(p.y).numel() > 1 ? 64 : 512;
  return can_pack_pairs(p) && by_rows(p.a) && p.m() >= least;
}

void matmul_tiles_bf16(const Problem& p) {
  multiply_in_parts(p, [&] { return TileMultiplier(p); }, 2 * kRows);
}

}  // namespace ashlar::kernels::products

#else

namespace ashlar::kernels::products {
bool is_tiles_bf16(const Problem&) { return false; }
void matmul_tiles_bf16(const Problem&) {}
}  // namespace ashlar::kernels::products

#endif
