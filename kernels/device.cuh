// What the CUDA kernels share beside core/cuda/launch.cuh: elementwise launches, and sums over warps and blocks in a fixed
// order.
#pragma once
#include "core/cuda/launch.cuh"
#include "core/cuda/stream.h"

namespace ashlar::kernels::device {

using ashlar::cuda::aligned_for, ashlar::cuda::blocks_for, ashlar::cuda::for_elements, ashlar::cuda::grid_of_rows,
    ashlar::cuda::kMaxBlocks, ashlar::cuda::kThreads, ashlar::cuda::kWide, ashlar::cuda::load, ashlar::cuda::Pack,
    ashlar::cuda::rounded, ashlar::cuda::rounded_pack, ashlar::cuda::store;

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

inline cudaStream_t queue(const Exec& exec) { return static_cast<cudaStream_t>(ashlar::cuda::stream(exec.device.index)); }

template <class A>
__device__ A warp_sum(A value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
template <class A>
__device__ A warp_max(A value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = max(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// The sum over a block of at most 1024 threads (whole warps), for all of them. `shared` holds 32 values and may be used
// again after the next barrier of the block's own.
template <class A>
__device__ A block_sum(A value, A* shared) {
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  A total = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) total += shared[warp];
  return total;
}
template <class A>
__device__ A block_max(A value, A* shared) {
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  A total = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) total = max(total, shared[warp]);
  return total;
}

// y[i] = f(x[i]…) in the type of the arithmetic; y may be one of x.
template <int N, class F, class Y, class... X>
__global__ void map_values(Dim count, F f, Y* y, const X*... x) {
  using A = accumulate_t<Y>;
  const Dim packs = count / N, first = Dim{blockIdx.x} * blockDim.x + threadIdx.x;
  const auto apply = [&](auto... operand) {
    Pack<Y, N> result;
    for (int i = 0; i < N; ++i) result.value[i] = rounded<Y>(f(convert<A>(operand.value[i])...));
    return result;
  };
  for (Dim p = first; p < packs; p += Dim{gridDim.x} * blockDim.x) store<N>(apply(load<N>(x + p * N)...), y + p * N);
  if (const Dim i = packs * N + first; i < count) y[i] = rounded<Y>(f(convert<A>(x[i])...));
}

// Calls the kernel above on contiguous values.
template <class F, class Y, class... X>
void map(const Exec& exec, Dim count, const F& f, Y* y, const X*... x) {
  if (count == 0) return;
  constexpr int N = kWide<Y, X...>;
  const bool aligned = (aligned_for(x, N) && ... && aligned_for(y, N));
  const unsigned blocks = blocks_for(count, kThreads * (aligned ? N : 1));
  if (aligned) map_values<N><<<blocks, kThreads, 0, queue(exec)>>>(count, f, y, x...);
  else map_values<1><<<blocks, kThreads, 0, queue(exec)>>>(count, f, y, x...);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

inline int attribute(const Exec& exec, cudaDeviceAttr which) {
  int value = 0;
  ASHLAR_CUDA_CHECK(cudaDeviceGetAttribute(&value, which, exec.device.index));
  return value;
}
// Blocks that the device has room for at a time: one whose threads stride over their work needs no more of them.
template <class Kernel>
Dim resident_blocks(const Exec& exec, Kernel* kernel, int threads) {
  queue(exec);  // makes its device the current one
  int blocks = 0;
  ASHLAR_CUDA_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0));
  return Dim{blocks} * attribute(exec, cudaDevAttrMultiProcessorCount);
}
inline int capability_major(const Exec& exec) { return attribute(exec, cudaDevAttrComputeCapabilityMajor); }

// Lets a kernel have `bytes` of dynamic shared memory; Error where the device has less. Without asking, its static and dynamic
// memory together may take 48 KiB, for which maxDynamicSharedSizeBytes does not always account; a limit above that was set here
// before, and counts dynamic memory alone. It is only ever raised: a recorded graph may launch with the larger size.
template <class Kernel>
void allow_shared_memory(const Exec& exec, Kernel* kernel, std::size_t bytes) {
  queue(exec);  // makes its device the current one
  cudaFuncAttributes has{};
  ASHLAR_CUDA_CHECK(cudaFuncGetAttributes(&has, kernel));
  constexpr std::size_t kUnasked = std::size_t{48} << 10;
  const auto limit = static_cast<std::size_t>(has.maxDynamicSharedSizeBytes);
  if (bytes + has.sharedSizeBytes <= kUnasked || (limit > kUnasked && bytes <= limit)) return;
  const auto most = static_cast<std::size_t>(attribute(exec, cudaDevAttrMaxSharedMemoryPerBlockOptin));
  ASHLAR_CHECK(bytes + has.sharedSizeBytes <= most, "cuda: a kernel needs ", bytes + has.sharedSizeBytes,
               " bytes of shared memory for rows of this width, and the device has ", most, " for a block; use narrower rows");
  const int asked = static_cast<int>(std::max(bytes, limit));
  ASHLAR_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, asked));
}

}  // namespace ashlar::kernels::device
