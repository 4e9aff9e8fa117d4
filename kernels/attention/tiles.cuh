// What attention's tensor-core kernels share: heads in memory, their rows as tiles, and reductions of rows of results.
#pragma once
#include <numbers>
#include <type_traits>

#include "kernels/mma.cuh"

namespace ashlar::kernels::attention {

using namespace tensor;

constexpr int kWarps = 4, kTileThreads = kWarps * device::kWarp;
constexpr float kLog2E = std::numbers::log2e_v<float>, kLn2 = std::numbers::ln2_v<float>;

// The heads of a (B, H, T, D) view.
struct Heads {
  Bf16* data;
  Dim batch_step, head_step, ld, heads;
  __device__ Bf16* head(Dim index) const { return data + index / heads * batch_step + index % heads * head_step; }
};
template <class AnyView>
Heads heads_of(const AnyView& v) {
  auto* const data = static_cast<Bf16*>(const_cast<void*>(static_cast<const void*>(v.data)));
  return {data, v.step(0), v.step(1), v.step(2), v.size(1)};
}

// A block has one of the tiles that the rows of a head are cut into. Blocks of one head follow each other, so that they find
// its keys in L2; all in x, because there may be more heads than a grid is high.
struct Place {
  Dim head;
  unsigned tile;
};
__device__ inline Place place_of_block(unsigned tiles) {
  const unsigned head = blockIdx.x / tiles;
  return {head, blockIdx.x - head * tiles};
}

// Copies, asynchronously, kRows rows from number `first` on of a head with `length` rows; zeros beyond. All kThreads threads
// of the block take part.
template <int kRows, int kThreads = kTileThreads, int D>
__device__ void load_rows(const Bf16* head, Dim ld, Dim first, Dim length, const Tile<D>& tile) {
  constexpr int kVectors = D / 8, kRowsAtOnce = kThreads / kVectors;  // vectors of 16 bytes in a row
  const int row = static_cast<int>(threadIdx.x) / kVectors, column = static_cast<int>(threadIdx.x) % kVectors * 8;
  const int left = static_cast<int>(min(length - first, Dim{kRows})) - row;
  const Bf16* const from = head + (first + row) * ld + column;
#pragma unroll
  for (int r = 0; r < kRows; r += kRowsAtOnce) {
    if (kRows % kRowsAtOnce != 0 && row + r >= kRows) break;
    ptx::copy_async(tile.data + (row + r) * Tile<D>::kLd + column, from + r * ld, r < left);
  }
}

// Rows row … + 16 of a head from fragments (16, D), times `factor` of each of the lane's two rows; none beyond `length`.
template <int D>
__device__ void store_rows(const FragmentC (&c)[D / kMmaN], const float (&factor)[2], Bf16* head, Dim ld, Dim row,
                           Dim length, int lane) {
  for (int half = 0; half < 2; ++half) {
    const Dim r = row + c_row(lane, 2 * half);
    if (r >= length) continue;
    for (int n = 0; n < D / kMmaN; ++n) {
      *reinterpret_cast<__nv_bfloat162*>(head + r * ld + n * kMmaN + c_column(lane, 0)) =
          __floats2bfloat162_rn(c[n].r[2 * half] * factor[half], c[n].r[2 * half + 1] * factor[half]);
    }
  }
}

// Calls body(used) with the fragments of eight of a tile's kRows rows that are not beyond the last row of all: a constant
// for whole tiles, whose products the compiler then interleaves.
template <int kRows, class Body>
__device__ void for_used_fragments(Dim begin, Dim length, const Body& body) {
  if (begin + kRows <= length) body(std::integral_constant<int, kRows / kMmaN>());
  else body(static_cast<int>(length - begin + kMmaN - 1) / kMmaN);
}

// Over the four lanes that share a row of C.
__device__ inline float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(device::kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(device::kAllLanes, value, 2));
}
__device__ inline float row_sum(float value) {
  value += __shfl_xor_sync(device::kAllLanes, value, 1);
  return value + __shfl_xor_sync(device::kAllLanes, value, 2);
}

}  // namespace ashlar::kernels::attention
