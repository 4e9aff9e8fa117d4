// The instructions of the GPU that CUDA C++ has no functions for, one function each (PTX ISA); all inline assembly of the
// project is here. fragments.h says where the values of a tensor-core product lie.
#pragma once
#include <cuda_bf16.h>

namespace ashlar::kernels::ptx {

__device__ inline unsigned shared_address(const void* at) {
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

// c (16, 8) += a (16, 16) b (16, 8); a warp at a time.
__device__ inline void mma(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices from shared memory, of which lane l names row l % 8 of matrix l / 8; a warp at a time.
__device__ inline void ldmatrix(const __nv_bfloat16* at, unsigned (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(at))
               : "memory");
}
__device__ inline void ldmatrix_transposed(const __nv_bfloat16* at, unsigned (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(at))
               : "memory");
}

// 2^x with a relative error below 2^-22; 0 for -infinity and where the result would not be normal.
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1/x with a relative error below 2^-22; 0 for infinity.
__device__ inline float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// No instruction: a barrier for the compiler, which computes nothing before it that depends on the value.
__device__ inline void hold_back(unsigned& value) { asm volatile("" : "+r"(value)); }

// 16 bytes from global to shared memory, behind the thread's back; zeros, and `from` is not read, where nothing is there.
__device__ inline void copy_async(__nv_bfloat16* to, const __nv_bfloat16* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0)
               : "memory");
}
// The same for one float.
__device__ inline void copy_async(float* to, const float* from, bool there) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(there ? 4 : 0)
               : "memory");
}
// Ends a group of the thread's copies.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// All but the latest kGroups groups have arrived.
template <int kGroups>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroups) : "memory");
}

}  // namespace ashlar::kernels::ptx
