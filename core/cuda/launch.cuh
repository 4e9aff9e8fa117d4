// What all kernels share, those of core and those of kernels/: sizes of grids, vectors of values, rows of columns.
#pragma once
#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/cuda/check.cuh"
#include "core/rounding.h"

namespace ashlar::cuda {

constexpr int kThreads = 256;                   // of a block, unless a kernel says otherwise
constexpr Dim kMaxBlocks = (Dim{1} << 31) - 1;  // of a grid in x; in y and z it has at most 65,535

// Blocks for `work` items of which a block takes `per_block`; kernels stride over what is beyond the limit.
inline unsigned blocks_for(Dim work, Dim per_block, Dim limit = Dim{1} << 20) {
  return static_cast<unsigned>(std::clamp<Dim>(ceil_div(work, per_block), 1, limit));
}

// N neighbouring values, loaded and stored at once; their address is a multiple of their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

// As many as a thread moves at once where they are aligned: 16 bytes of the largest of several types.
template <class... T>
constexpr int kWide = static_cast<int>(16 / std::max({sizeof(T)...}));

template <int N, class T>
__device__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T>
__device__ void store(const Pack<T, N>& pack, T* to) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// convert, by the hardware's own rounding to bf16.
template <class T, class A>
__device__ T rounded(A value) {
  if constexpr (std::is_same_v<T, bfloat16> && std::is_same_v<A, float>) {
    const __nv_bfloat16 narrow = __float2bfloat16_rn(value);
    return *reinterpret_cast<const bfloat16*>(&narrow);
  } else {
    return convert<T>(value);
  }
}

// A pack of them, in pairs where they become bf16: an instruction rounds two.
template <class T, int N, class A>
__device__ Pack<T, N> rounded_pack(const A (&values)[N]) {
  Pack<T, N> pack;
  if constexpr (std::is_same_v<T, bfloat16> && std::is_same_v<A, float> && N % 2 == 0) {
    for (int i = 0; i < N; i += 2) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[i], values[i + 1]);
      pack.value[i] = reinterpret_cast<const bfloat16*>(&pair)[0];
      pack.value[i + 1] = reinterpret_cast<const bfloat16*>(&pair)[1];
    }
  } else {
    for (int i = 0; i < N; ++i) pack.value[i] = rounded<T>(values[i]);
  }
  return pack;
}

template <class T>
bool aligned_for(const T* data, int n) {
  return reinterpret_cast<std::uintptr_t>(data) % (sizeof(T) * static_cast<std::size_t>(n)) == 0;
}

// Threads for rows of columns: side by side along a row and, where rows are shorter than a block, on several rows, so that
// all of them have work. `matrices` of such rows, at most 65,535, are blockIdx.z.
struct RowGrid {
  dim3 grid, block;
};
inline RowGrid grid_of_rows(Dim rows, Dim columns, Dim matrices = 1) {
  const unsigned across = columns < kThreads ? std::bit_ceil(static_cast<unsigned>(columns)) : kThreads;
  const unsigned down = kThreads / across;
  return {{blocks_for(columns, across, 1 << 16), blocks_for(rows, down, 1 << 15), static_cast<unsigned>(matrices)},
          {across, down}};
}

// In a kernel launched so: calls body(offsets_of(row), column) for the elements of this thread.
template <class OffsetsOf, class Body>
__device__ void for_elements(Dim rows, Dim columns, const OffsetsOf& offsets_of, const Body& body) {
  for (Dim row = Dim{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += Dim{gridDim.y} * blockDim.y) {
    const auto offsets = offsets_of(row);
    for (Dim c = Dim{blockIdx.x} * blockDim.x + threadIdx.x; c < columns; c += Dim{gridDim.x} * blockDim.x) {
      body(offsets, c);
    }
  }
}
// The same with body(row, column).
template <class Body>
__device__ void for_elements(Dim rows, Dim columns, const Body& body) {
  for_elements(rows, columns, [](Dim row) { return row; }, body);
}

}  // namespace ashlar::cuda
