// Tensor-core products of bf16 tiles in shared memory, a warp at a time (fragments.h says where values lie).
#pragma once
#include "kernels/fragments.h"
#include "kernels/device.cuh"
#include "kernels/ptx.cuh"

namespace ashlar::kernels::tensor {

using Bf16 = __nv_bfloat16;
inline const Bf16* values(const ConstView& v) { return static_cast<const Bf16*>(v.data); }
inline Bf16* values(const View& v) { return static_cast<Bf16*>(v.data); }

struct FragmentA {  // (16, 16)
  unsigned r[4];
};
struct FragmentB {  // two operands (16, 8): of r[0], r[1] and of r[2], r[3]
  unsigned r[4];
};
struct FragmentC {  // (16, 8), f32
  float r[4] = {0, 0, 0, 0};
};

// c += a b for the first (half 0) or second operand of b.
__device__ inline void mma(const FragmentA& a, const FragmentB& b, int half, FragmentC& c) {
  ptx::mma(a.r, b.r[2 * half], b.r[2 * half + 1], c.r);
}

// Rows of D values in shared memory, 16 bytes more apart than they are long, so that the eight rows of a matrix that
// ldmatrix reads lie in different banks.
template <int D>
struct Tile {
  static constexpr int kLd = D + 8;
  static constexpr std::size_t bytes(int rows) { return sizeof(Bf16) * static_cast<std::size_t>(rows) * kLd; }
  Bf16* data;

  // A (16, 16) at (row, column).
  __device__ FragmentA left(int row, int column, int lane) const {
    FragmentA a;
    ptx::ldmatrix(data + (row + square_row(lane)) * kLd + column + square_column(lane), a.r);
    return a;
  }
  // The tile as (k, n): two operands, of columns … + 8 and + 8 … + 16.
  __device__ FragmentB right(int row, int column, int lane) const {
    FragmentB b;
    ptx::ldmatrix_transposed(data + (row + square_row(lane)) * kLd + column + square_column(lane), b.r);
    return b;
  }
  // The tile as (n, k), rows row … + 8: two operands, of k from column and from column + 16.
  __device__ FragmentB right_of_rows(int row, int column, int lane) const {
    FragmentB b;
    ptx::ldmatrix(data + (row + flat_row(lane)) * kLd + column + flat_column(lane), b.r);
    return b;
  }
};

// What a block multiplies at a time: a (kRows, kDepth) and b (kDepth, kColumns) in shared memory.
template <int kRows, int kDepth, int kColumns>
struct ProductTiles {
  Tile<kDepth> a;
  Tile<kColumns> b;
  static constexpr std::size_t kBytes = Tile<kDepth>::bytes(kRows) + Tile<kColumns>::bytes(kDepth);

  __device__ explicit ProductTiles(unsigned char* memory)
      : a{reinterpret_cast<Bf16*>(memory)}, b{reinterpret_cast<Bf16*>(memory + Tile<kDepth>::bytes(kRows))} {}

  // sum += a b for a warp, whose results begin at (row, column).
  template <int kM, int kN>
  __device__ void add_products(int row, int column, int lane, FragmentC (&sum)[kM][kN]) const {
#pragma unroll
    for (int k = 0; k < kDepth; k += kMmaK) {
      FragmentA left[kM];
#pragma unroll
      for (int m = 0; m < kM; ++m) left[m] = a.left(row + m * kMmaM, k, lane);
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
        const FragmentB right = b.right(k, column + n * kMmaN, lane);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma(left[m], right, 0, sum[m][n]);
          mma(left[m], right, 1, sum[m][n + 1]);
        }
      }
    }
  }
};

// Two values of bf16 in a register, the first in its lower half.
__device__ inline unsigned pack(float first, float second) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const unsigned*>(&both);
}
__device__ inline float2 unpack(unsigned pair) { return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)}; }

// A row of eight of two results that lie side by side, from how mma leaves it to sector_row and sector_column; a warp at a
// time.
__device__ inline void to_sectors(unsigned& left, unsigned& right, int lane) {
  const bool high = lane >= device::kWarp / 2;
  const unsigned got = __shfl_xor_sync(device::kAllLanes, high ? left : right, device::kWarp / 2);
  (high ? left : right) = got;
}

// Writes them, where `at` is the place of sector_row(lane, 0), sector_column(lane): of rows `ld` apart those that are among
// the next `rows`, and nothing unless the lane's columns are `inside`.
__device__ inline void store_sectors(unsigned left, unsigned right, int lane, Bf16* at, Dim ld, int rows, bool inside) {
  to_sectors(left, right, lane);
  constexpr int kApart = sector_row(0, 1);
  if (inside && rows > 0) *reinterpret_cast<unsigned*>(at) = left;
  if (inside && rows > kApart) *reinterpret_cast<unsigned*>(at + kApart * ld) = right;
}

// Results as left operand of the next product: columns 16 step … of a row of (16, 8) fragments.
template <int N>
__device__ FragmentA as_left(const FragmentC (&c)[N], int step) {
  const FragmentC &low = c[2 * step], &high = c[2 * step + 1];
  return {{pack(low.r[0], low.r[1]), pack(low.r[2], low.r[3]), pack(high.r[0], high.r[1]), pack(high.r[2], high.r[3])}};
}

}  // namespace ashlar::kernels::tensor
