// Matrices into tiles of shared memory, one tile after the other, by all threads of a block, asynchronously.
#pragma once
#include "kernels/mma.cuh"

namespace ashlar::kernels::tensor {

// What a thread brings of a matrix of `rows` by `columns` values (whole vectors of eight, rows ld apart): the same places of
// every tile, for which it keeps the address.
template <int D, int kBlockThreads>
class TileLoads {
 public:
  // `ld` has to outlive this: a parameter of the kernel is best.
  __device__ TileLoads(const Bf16* corner, const Dim& ld, int rows, int columns = D)
      : ld_(ld), from_(corner + row() * ld + column()), rows_(rows - row()), columns_(columns - column()) {}

  // The corner of what is left of the matrix into the first kRows rows, and D columns, of a tile; zeros beyond the matrix.
  template <int kRows, int kWidth>
  __device__ void load(const Tile<kWidth>& tile) const {
    static_assert(kWidth >= D);
#pragma unroll
    for (int r = 0; r < kRows; r += kRowsAtOnce) {
      if (kRows % kRowsAtOnce != 0 && row() + r >= kRows) break;
      ptx::copy_async(tile.data + (row() + r) * Tile<kWidth>::kLd + column(), from_ + r * ld_, r < rows_ && columns_ > 0);
    }
  }
  // Leaves rows or columns behind.
  __device__ void pass_rows(int count) { from_ += count * ld_, rows_ -= count; }
  __device__ void pass_columns(int count) { from_ += count, columns_ -= count; }

  // The thread's first place in a tile; the next ones lie kRowsAtOnce rows apart.
  static constexpr int kVectors = D / 8, kRowsAtOnce = kBlockThreads / kVectors;  // vectors of 16 bytes in a row
  static_assert(kBlockThreads % kVectors == 0);
  __device__ static int row() {
    const int turn = static_cast<int>(threadIdx.x) / kVectors;
    return kVectors == 4 ? row_in_turn(turn) : turn;
  }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kVectors * 8; }

 private:
  const Dim& ld_;
  const Bf16* from_;
  int rows_, columns_;
};

}  // namespace ashlar::kernels::tensor
