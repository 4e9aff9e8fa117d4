// What attention's tensor-core kernels share: heads in memory, their rows as tiles, and reductions of rows of results.
#pragma once
#include <numbers>
#include <type_traits>

#include "kernels/tile_loads.cuh"

namespace ashlar::kernels::attention {

using namespace tensor;

constexpr int kWarps = 4, kTileThreads = kWarps * device::kWarp;
constexpr float kLog2E = std::numbers::log2e_v<float>, kLn2 = std::numbers::ln2_v<float>;

// A block has one of the tiles that the rows of a head are cut into. Blocks of one head follow each other, so that they find
// its keys in L2; all in x, because there may be more heads than a grid is high.
struct Place {
  Dim head;  // of all
  unsigned batch, head_of_batch;
  int tile;
};
__device__ inline Place place_of_block(unsigned tiles, unsigned heads) {
  const unsigned head = blockIdx.x / tiles, batch = head / heads;
  return {head, batch, head - batch * heads, static_cast<int>(blockIdx.x - head * tiles)};
}

// The heads of a (B, H, T, D) view.
struct Heads {
  Bf16* data;
  Dim batch_step, head_step, ld;
  __device__ Bf16* head(const Place& place) const { return data + place.batch * batch_step + place.head_of_batch * head_step; }
};
template <class AnyView>
Heads heads_of(const AnyView& v) {
  return {static_cast<Bf16*>(const_cast<void*>(static_cast<const void*>(v.data))), v.step(0), v.step(1), v.step(2)};
}

// The rows of a head from number `first` on, as tiles.
template <int D, int kThreads = kTileThreads>
__device__ TileLoads<D, kThreads> loads_of(const Heads& heads, const Place& place, int first, int length) {
  return {heads.head(place) + first * heads.ld, heads.ld, length - first};
}

// Rows row … + 16 of a head from fragments (16, D), times `factor` of each of the lane's two rows; none beyond `length`.
template <int D>
__device__ void store_rows(const FragmentC (&c)[D / kMmaN], const float (&factor)[2], Bf16* head, Dim ld, int row,
                           int length, int lane) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const auto packed = [&](const FragmentC& f) {
      return pack(f.r[2 * half] * factor[half], f.r[2 * half + 1] * factor[half]);
    };
#pragma unroll
    for (int n = 0; n < D / kMmaN; n += 2) {
      const int r = row + 8 * half + sector_row(lane, 0);
      store_sectors(packed(c[n]), packed(c[n + 1]), lane, head + r * ld + n * kMmaN + sector_column(lane), ld, length - r, true);
    }
  }
}

// Calls body(used) with the fragments of eight of a tile's kRows rows that are not beyond the last row of all: a constant
// for whole tiles, whose products the compiler then interleaves.
template <int kRows, class Body>
__device__ void for_used_fragments(int begin, int length, const Body& body) {
  if (begin + kRows <= length) body(std::integral_constant<int, kRows / kMmaN>());
  else body((length - begin + kMmaN - 1) / kMmaN);
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
