// What a block of fused.cu brings to shared memory.
#pragma once
#include "kernels/blast/cuda.h"
#include "kernels/device.cuh"
#include "kernels/mma.cuh"

namespace ashlar::kernels::blast {

using device::kWarp;
using namespace tensor;

constexpr int kRows = 128, kDepth = 64, kStages = 3;
// Warps lie in four rows and two columns.
constexpr int kWarpRows = 4, kWarpColumns = 2, kBlockThreads = kWarpRows * kWarpColumns * kWarp;

struct Call {
  const Bf16 *x, *factor;  // (R, n), (blocks, length, r)
  Dim rows, ld;
  int features, blocks, length, rank;
  const float* s;
  CouplingSteps steps;
  Bf16 *a, *c;       // (R, blocks, r) or null; (R, outputs, r)
  Dim a_row, c_row;  // from one row to the next
};

template <int kRank>
using Stage = ProductTiles<kRows, kDepth, kRank>;  // of X and the factor

// What a thread brings to each stage: eight features of some rows of X, some columns of a row of the factor.
template <int kRank>
class Loads {
 public:
  __device__ Loads(const Call& call, Dim row, int column, unsigned char* memory)
      : call_(call),
        memory_(memory),
        r_(static_cast<int>(threadIdx.x) / (kDepth / 8)),
        f_(static_cast<int>(threadIdx.x) % (kDepth / 8) * 8),
        d_(row_in_turn(static_cast<int>(threadIdx.x) / (kFactorColumns / 8))),
        k_(static_cast<int>(threadIdx.x) % (kFactorColumns / 8) * 8),
        rows_(static_cast<int>(min(call.rows - row, Dim{kRows})) - r_),
        columns_(call.rank - column - k_),
        x_(call.x + (row + r_) * call.ld + f_),
        factor_(call.factor + Dim{d_} * call.rank + column + k_) {}

  // The next kDepth features of a block, or the first of the next block: a group of copies, empty after the last.
  __device__ void next() {
    if (begin_ < call_.blocks * call_.length) {
      const Stage<kRank> to(memory_ + stage_ * Stage<kRank>::kBytes);
      const int left = min(call_.length, call_.features - begin_) - first_;
      const Bf16* const x = x_ + begin_ + first_;
      const Bf16* const factor = factor_ + Dim{begin_ + first_} * call_.rank;
#pragma unroll
      for (int i = 0; i < kRows; i += kBlockThreads / (kDepth / 8)) {
        ptx::copy_async(to.a.data + (r_ + i) * Tile<kDepth>::kLd + f_, x + i * call_.ld, i < rows_ && f_ < left);
      }
#pragma unroll
      for (int i = 0; i < kRank; i += kFactorColumns) {
        ptx::copy_async(to.b.data + d_ * Tile<kRank>::kLd + k_ + i, factor + i, i < columns_ && d_ < left);
      }
      stage_ = stage_ + 1 < kStages ? stage_ + 1 : 0;
      first_ += kDepth;
      if (first_ >= call_.length) begin_ += call_.length, first_ = 0;
    }
    ptx::commit_copies();
  }

 private:
  static constexpr int kFactorColumns = kBlockThreads / kDepth * 8;  // of all threads at a time
  static_assert(kRank % kFactorColumns == 0 && kFactorColumns == 32);
  const Call& call_;
  unsigned char* memory_;
  int r_, f_, d_, k_, rows_, columns_;
  const Bf16 *x_, *factor_;
  int stage_ = 0, begin_ = 0, first_ = 0;  // features of block and step
};

}  // namespace ashlar::kernels::blast
