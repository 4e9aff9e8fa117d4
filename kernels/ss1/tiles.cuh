// What the two fused kernels share: tiles of the product and its operands.
//
// A block has 256 threads for a tile of 128 x 128 results: 8 warps in 4 x 2, each with 32 x 64 results in 64 registers, so
// that two blocks fit on a multiprocessor and 12 reads by ldmatrix feed 32 products. Operands come through shared memory
// in steps of 32 of the inner dimension, two steps ahead.
#pragma once
#include "kernels/blocks/blocks.h"
#include "kernels/ss1/cuda.h"
#include "kernels/tile_loads.cuh"

namespace ashlar::kernels::ss1 {

using namespace device;
using namespace tensor;

constexpr int kStages = 3, kBlockThreads = 256;
constexpr int kWarpRows = 32, kWarpColumns = 64, kColumnWarps = kColumns / kWarpColumns;

// The results of a warp, 32 rows by 64 columns from (row, column) of the tile on.
struct Warp {
  int lane, row, column;
  FragmentC sum[kWarpRows / kMmaM][kWarpColumns / kMmaN];
  __device__ Warp() {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
    lane = thread % kWarp;
    row = warp / kColumnWarps * kWarpRows;
    column = warp % kColumnWarps * kWarpColumns;
  }
};

}  // namespace ashlar::kernels::ss1
