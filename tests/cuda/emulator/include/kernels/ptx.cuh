// In place of kernels/ptx.cuh: the same functions by their definition in the PTX ISA. It gives the layout of fragments by
// the names group = lane / 4 and number = lane % 4; a register holds two values of bf16, the first in its lower half.
#pragma once
#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated {

inline float half_of(unsigned pair, int which) {
  return static_cast<float>(std::bit_cast<std::array<bfloat16, 2>>(pair)[static_cast<std::size_t>(which)]);
}

struct MmaLane {
  const unsigned* a;
  unsigned b[2];
  float* c;
};

inline void combine_mma(const AllLanes& all) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const MmaLane& own = *static_cast<const MmaLane*>(all[static_cast<std::size_t>(lane)]);
    const int group = lane / 4, number = lane % 4;
    for (int half = 0; half < 2; ++half) {
      const int first = 2 * number + half;
      a[group][first] = half_of(own.a[0], half);
      a[group + 8][first] = half_of(own.a[1], half);
      a[group][first + 8] = half_of(own.a[2], half);
      a[group + 8][first + 8] = half_of(own.a[3], half);
      b[first][group] = half_of(own.b[0], half);
      b[first + 8][group] = half_of(own.b[1], half);
    }
  }
  float products[16][8] = {};
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) products[m][n] += a[m][k] * b[k][n];
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const MmaLane& own = *static_cast<const MmaLane*>(all[static_cast<std::size_t>(lane)]);
    const int group = lane / 4, number = lane % 4;
    for (int i = 0; i < 4; ++i) own.c[i] += products[group + i / 2 * 8][2 * number + i % 2];
  }
}

struct LdmatrixLane {
  const bfloat16* row;
  unsigned* r;
};

// Its lanes have read (ldmatrix below).
template <bool kTransposed>
__attribute__((no_sanitize("thread"))) void combine_ldmatrix(const AllLanes& all) {
  bfloat16 matrix[4][8][8];
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::memcpy(matrix[lane / 8][lane % 8], static_cast<const LdmatrixLane*>(all[lane])->row, sizeof matrix[0][0]);
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const std::size_t group = lane / 4, first = 2 * (lane % 4);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::array<bfloat16, 2> pair{kTransposed ? matrix[i][first][group] : matrix[i][group][first],
                                         kTransposed ? matrix[i][first + 1][group] : matrix[i][group][first + 1]};
      static_cast<const LdmatrixLane*>(all[lane])->r[i] = std::bit_cast<unsigned>(pair);
    }
  }
}

inline void check_aligned(const char* instruction, const void* at) {
  const std::uintptr_t beyond = reinterpret_cast<std::uintptr_t>(at) % 16;
  if (beyond != 0) throw Error(concat(instruction, ": the address is ", beyond, " more than a multiple of 16"));
}

inline void copy_async(void* to, const void* from, std::size_t bytes, bool there) {
  if (there) watch::read(from, bytes);
  watch::begin_copy(to, bytes);
  issue_copy(to, from, bytes, there);
}

template <bool kTransposed>
void ldmatrix(const bfloat16* at, unsigned (&r)[4]) {
  check_aligned("ldmatrix", at);
  watch::read(at, 16);
  LdmatrixLane own{at, r};
  warp_collective(kTransposed ? "ldmatrix.trans" : "ldmatrix", ~0u, &own, &combine_ldmatrix<kTransposed>);
}

}  // namespace ashlar::emulated

namespace ashlar::kernels::ptx {

inline void mma(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  emulated::MmaLane own{a, {b0, b1}, c};
  emulated::warp_collective("mma", ~0u, &own, &emulated::combine_mma);
}
inline void ldmatrix(const __nv_bfloat16* at, unsigned (&r)[4]) { emulated::ldmatrix<false>(at, r); }
inline void ldmatrix_transposed(const __nv_bfloat16* at, unsigned (&r)[4]) { emulated::ldmatrix<true>(at, r); }
inline float exp2_approximate(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0 : y;
}
inline float reciprocal_approximate(float x) { return 1 / x; }
inline void hold_back(unsigned&) {}
inline void copy_async(__nv_bfloat16* to, const __nv_bfloat16* from, bool there) {
  emulated::check_aligned("cp.async", to);
  emulated::check_aligned("cp.async", from);
  emulated::copy_async(to, from, 16, there);
}
inline void copy_async(float* to, const float* from, bool there) { emulated::copy_async(to, from, 4, there); }
inline void commit_copies() { emulated::commit_copies(); }
template <int kGroups>
void wait_for_copies() {
  emulated::wait_for_copies(kGroups);
}

}  // namespace ashlar::kernels::ptx
