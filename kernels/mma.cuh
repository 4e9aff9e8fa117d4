// Tensor-core products of bf16 tiles in shared memory, a warp at a time (fragments.h says where values lie).
#pragma once
#include <cuda_bf16.h>

#include "kernels/fragments.h"
#include "kernels/device.cuh"

namespace ashlar::kernels::tensor {

using Bf16 = __nv_bfloat16;

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
__device__ inline void multiply(const FragmentA& a, const FragmentB& b, int half, FragmentC& c) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c.r[0]), "+f"(c.r[1]), "+f"(c.r[2]), "+f"(c.r[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[2 * half]), "r"(b.r[2 * half + 1]));
}

__device__ inline unsigned shared_address(const Bf16* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }

__device__ inline void load_matrices(const Bf16* at, unsigned (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(at))
               : "memory");
}
__device__ inline void load_matrices_transposed(const Bf16* at, unsigned (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(at))
               : "memory");
}

// 16 bytes from global to shared memory, behind the thread's back; zeros where there is nothing to read.
__device__ inline void copy_async(Bf16* to, const Bf16* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0)
               : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// All but the latest kPending groups have arrived.
template <int kPending>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
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
    load_matrices(data + (row + square_row(lane)) * kLd + column + square_column(lane), a.r);
    return a;
  }
  // The tile as (k, n): two operands, of columns … + 8 and + 8 … + 16.
  __device__ FragmentB right(int row, int column, int lane) const {
    FragmentB b;
    load_matrices_transposed(data + (row + square_row(lane)) * kLd + column + square_column(lane), b.r);
    return b;
  }
  // The tile as (n, k), rows row … + 8: two operands, of k from column and from column + 16.
  __device__ FragmentB right_of_rows(int row, int column, int lane) const {
    FragmentB b;
    load_matrices(data + (row + flat_row(lane)) * kLd + column + flat_column(lane), b.r);
    return b;
  }
};

// Results as left operand of the next product: columns 16 step … of a row of (16, 8) fragments.
template <int N>
__device__ FragmentA as_left(const FragmentC (&c)[N], int step) {
  const auto pair = [](float first, float second) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<const unsigned*>(&both);
  };
  const FragmentC &low = c[2 * step], &high = c[2 * step + 1];
  return {{pair(low.r[0], low.r[1]), pair(low.r[2], low.r[3]), pair(high.r[0], high.r[1]), pair(high.r[2], high.r[3])}};
}

}  // namespace ashlar::kernels::tensor
