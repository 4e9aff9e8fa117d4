// The coupling of BLAST on CUDA: elementwise along the rank, a small matrix across the blocks.
#include "kernels/blast/cuda.h"
#include "kernels/device.cuh"

namespace ashlar::kernels::cuda {
void sum_to(const Exec& exec, ConstView x, View y);
}

namespace ashlar::kernels::blast {
namespace {

using namespace device;

// A thread has one value of the rank and a few rows, so that a value of s serves several products.
constexpr int kRowsAtOnce = 4;

template <class T>
__global__ void couple_rows(Dim rows, Dim rank, CouplingSteps steps, const accumulate_t<T>* s, const T* a, Dim a_row, T* c,
                            Dim c_row) {
  using A = accumulate_t<T>;
  const Dim k = Dim{blockIdx.y} * kWarp + threadIdx.x;
  const Dim first = (Dim{blockIdx.x} * blockDim.y + threadIdx.y) * kRowsAtOnce;
  if (k >= rank) return;
  for (Dim i = 0; i < steps.outputs; ++i) {
    A sum[kRowsAtOnce] = {};
    for (Dim j = 0; j < steps.inputs; ++j) {
      const A factor = s[i * steps.s_out + j * steps.s_in + k];
      for (int r = 0; r < kRowsAtOnce; ++r) {
        if (first + r < rows) sum[r] += factor * convert<A>(a[(first + r) * a_row + j * rank + k]);
      }
    }
    for (int r = 0; r < kRowsAtOnce; ++r) {
      if (first + r < rows) c[(first + r) * c_row + i * rank + k] = convert<T>(sum[r]);
    }
  }
}

// Block (k, chunk of rows, tile of outputs): 32 values of the rank, eight rows at a time, eight by eight blocks in registers,
// so that a and dc are read once where there are no more; partial (chunks, b1, b2, r). In f64 a multiprocessor has registers
// for one such block.
constexpr int kRowLanes = kThreads / kWarp, kBlocksAtOnce = 8;
static_assert(kRowLanes == kBlocksAtOnce, "a warp adds up the sums of one block of a");

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    gradient_parts(Dim rows, Dim rank, Dim outputs, Dim inputs, const T* a, Dim a_row, const T* dc, Dim dc_row,
                   accumulate_t<T>* partial) {
  using A = accumulate_t<T>;
  __shared__ A shared[kRowLanes * kBlocksAtOnce * kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, row_lane = static_cast<int>(threadIdx.x) / kWarp;
  const Dim k = Dim{blockIdx.x} * kWarp + lane, chunk = blockIdx.y, chunks = gridDim.y;
  const Dim begin = rows * chunk / chunks, end = rows * (chunk + 1) / chunks;
  const Dim first_i = Dim{blockIdx.z} * kBlocksAtOnce;
  const int count_i = static_cast<int>(min(outputs - first_i, Dim{kBlocksAtOnce}));
  for (Dim first_j = 0; first_j < inputs; first_j += kBlocksAtOnce) {
    const int count_j = static_cast<int>(min(inputs - first_j, Dim{kBlocksAtOnce}));
    A sum[kBlocksAtOnce][kBlocksAtOnce] = {};
    for (Dim row = begin + row_lane; row < end && k < rank; row += kRowLanes) {
      A value[kBlocksAtOnce], gradient[kBlocksAtOnce];
#pragma unroll
      for (int b = 0; b < kBlocksAtOnce; ++b) {
        gradient[b] = b < count_i ? convert<A>(dc[row * dc_row + (first_i + b) * rank + k]) : A{0};
        value[b] = b < count_j ? convert<A>(a[row * a_row + (first_j + b) * rank + k]) : A{0};
      }
#pragma unroll
      for (int i = 0; i < kBlocksAtOnce; ++i) {
        if (i >= count_i) break;
#pragma unroll
        for (int j = 0; j < kBlocksAtOnce; ++j) sum[i][j] += gradient[i] * value[j];
      }
    }
#pragma unroll
    for (int i = 0; i < kBlocksAtOnce; ++i) {
      if (i >= count_i) break;
      __syncthreads();
#pragma unroll
      for (int j = 0; j < kBlocksAtOnce; ++j) shared[(row_lane * kBlocksAtOnce + j) * kWarp + lane] = sum[i][j];
      __syncthreads();
      const int j = row_lane;
      if (j >= count_j || k >= rank) continue;
      A total = 0;
      for (int r = 0; r < kRowLanes; ++r) total += shared[(r * kBlocksAtOnce + j) * kWarp + lane];
      partial[((chunk * outputs + first_i + i) * inputs + first_j + j) * rank + k] = total;
    }
  }
}

}  // namespace

void couple(const Exec& exec, const ConstView& a, const ConstView& s, const CouplingSteps& steps, const View& c) {
  const Dim rows = a.size(0), rank = a.size(2);
  if (c.numel() == 0) return;
  const dim3 threads(kWarp, kThreads / kWarp);
  const dim3 grid(blocks_for(rows, Dim{threads.y} * kRowsAtOnce, kMaxBlocks), blocks_for(rank, kWarp));
  dispatch_floating(a.dtype, "blast", [&]<class T>() {
    couple_rows<<<grid, threads, 0, queue(exec)>>>(rows, rank, steps, s.as<accumulate_t<T>>(), a.as<T>(), a.step(0),
                                                     c.as<T>(), c.step(0));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void couple_gradient(const Exec& exec, const ConstView& a, const ConstView& dc, const View& ds) {
  const Dim rows = a.size(0), rank = a.size(2), inputs = a.size(1), outputs = dc.size(1);
  constexpr Dim kRowsPerChunk = 128, kMaxChunks = 64;
  const Dim chunks = std::clamp<Dim>(rows / kRowsPerChunk, 1, kMaxChunks);
  const Array partial = Array::empty({chunks, outputs * inputs * rank}, ds.dtype, exec.device);
  const dim3 grid(blocks_for(rank, kWarp), static_cast<unsigned>(chunks), blocks_for(outputs, kBlocksAtOnce));
  dispatch_floating(a.dtype, "blast", [&]<class T>() {
    gradient_parts<<<grid, kThreads, 0, queue(exec)>>>(rows, rank, outputs, inputs, a.as<T>(), a.step(0), dc.as<T>(),
                                                       dc.step(0), View(partial).as<accumulate_t<T>>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
  const Dim values = ds.numel();
  cuda::sum_to(exec, partial, View{ds.data, ds.dtype, Shape{1, values}, {values, 1}, ds.device});
}

}  // namespace ashlar::kernels::blast
