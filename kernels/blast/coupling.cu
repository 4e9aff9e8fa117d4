// The coupling of BLAST on CUDA: elementwise along the rank, a small matrix across the blocks.
#include "core/array.h"
#include "kernels/blast/cuda.h"
#include "kernels/device.cuh"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::blast {
namespace {

using namespace device;

// Blocks (rows, values of the rank), threads (values of the rank, rows).
constexpr int kRowsAtOnce = 4;

// A thread has one value of the rank and a few rows, so that a value of s serves several products.
template <class T>
__global__ void couple_values(Dim rows, Dim rank, CouplingSteps steps, const accumulate_t<T>* s, const T* a, Dim a_row, T* c,
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
      if (first + r < rows) c[(first + r) * c_row + i * rank + k] = rounded<T>(sum[r]);
    }
  }
}

// The same for two neighbouring values of the rank; a, of at most kBlocks blocks, is read once.
template <class T, int kBlocks>
__global__ void couple_pairs(Dim rows, Dim rank, CouplingSteps steps, const accumulate_t<T>* s, const T* a, Dim a_row, T* c,
                             Dim c_row) {
  using A = accumulate_t<T>;
  const int k = static_cast<int>(blockIdx.y * kWarp + threadIdx.x) * 2, inputs = static_cast<int>(steps.inputs);
  const Dim first = (Dim{blockIdx.x} * blockDim.y + threadIdx.y) * kRowsAtOnce;
  if (k >= rank) return;
  // Beyond the last row or block it is that again, and nobody uses it.
  Pack<T, 2> value[kRowsAtOnce][kBlocks];
#pragma unroll
  for (int r = 0; r < kRowsAtOnce; ++r) {
    const T* const row = a + min(first + r, rows - 1) * a_row + k;
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) value[r][j] = load<2>(row + min(j, inputs - 1) * rank);
  }
  for (int i = 0; i < steps.outputs; ++i) {
    A sum[kRowsAtOnce][2] = {};
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      if (j >= inputs) break;
      const Pack<A, 2> factor = load<2>(s + i * steps.s_out + j * steps.s_in + k);
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) {
        for (int e = 0; e < 2; ++e) sum[r][e] += factor.value[e] * convert<A>(value[r][j].value[e]);
      }
    }
#pragma unroll
    for (int r = 0; r < kRowsAtOnce; ++r) {
      const Pack<T, 2> result{rounded<T>(sum[r][0]), rounded<T>(sum[r][1])};
      if (first + r < rows) store<2>(result, c + (first + r) * c_row + i * rank + k);
    }
  }
}

// Block (k, chunk of rows, tile of outputs): 32 values of the rank, eight warps that take the chunk's rows in turns of
// kRowsOfTurn, kBlocks by kBlocks blocks in registers, so that a and dc are read once where there are no more; partial
// (chunks, b1, b2, r). Of one row of few blocks too few reads would be under way to fill the memory's bandwidth.
constexpr int kRowWarps = kThreads / kWarp;
template <int kBlocks>
constexpr int kRowsOfTurn = kBlocks < 8 ? 2 : 1;

// How many fit on a multiprocessor, and on the 132 of an H200: on every chip, because the number of chunks is part of the order
// of the sums.
template <class T>
constexpr int kGradientBlocks = sizeof(T) == 8 ? 1 : 2;
template <class T>
constexpr Dim kGradientSlots = 132 * kGradientBlocks<T>;

template <class T, int kBlocks>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<T>)
    gradient_parts(Dim rows, Dim rank, Dim outputs, Dim inputs, const T* a, Dim a_row, const T* dc, Dim dc_row,
                   accumulate_t<T>* partial) {
  using A = accumulate_t<T>;
  constexpr int kTurn = kRowsOfTurn<kBlocks>;
  static_assert(kBlocks <= kRowWarps, "a warp adds up the sums of one block of a");
  __shared__ A shared[kRowWarps * kBlocks * kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const Dim k = Dim{blockIdx.x} * kWarp + lane, chunk = blockIdx.y, chunks = gridDim.y;
  const Dim begin = rows * chunk / chunks, end = rows * (chunk + 1) / chunks;
  const Dim first_i = Dim{blockIdx.z} * kBlocks;
  const int count_i = static_cast<int>(min(outputs - first_i, Dim{kBlocks})), step = static_cast<int>(rank);
  // One row's values of both sides. Where there are fewer blocks the last one is read again, for sums that nobody reads.
  struct Row {
    T gradient[kBlocks], value[kBlocks];
    __device__ void load(const T* dc_at, const T* a_at, int count_i, int count_j, int step) {
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        gradient[b] = dc_at[min(b, count_i - 1) * step];
        value[b] = a_at[min(b, count_j - 1) * step];
      }
    }
    __device__ void add_to(A (&sum)[kBlocks][kBlocks]) const {
#pragma unroll
      for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
        for (int j = 0; j < kBlocks; ++j) sum[i][j] += convert<A>(gradient[i]) * convert<A>(value[j]);
      }
    }
  };
  for (Dim first_j = 0; first_j < inputs; first_j += kBlocks) {
    const int count_j = static_cast<int>(min(inputs - first_j, Dim{kBlocks}));
    A sum[kBlocks][kBlocks] = {};
    Dim row = k < rank ? begin + warp : end;
    const T *dc_at = dc + row * dc_row + first_i * rank + k, *a_at = a + row * a_row + first_j * rank + k;
    const Dim dc_turn = kRowWarps * dc_row, a_turn = kRowWarps * a_row;
    for (; row + (kTurn - 1) * kRowWarps < end; row += kTurn * kRowWarps) {
      Row turn[kTurn];
#pragma unroll
      for (int q = 0; q < kTurn; ++q, dc_at += dc_turn, a_at += a_turn) {
        turn[q].load(dc_at, a_at, count_i, count_j, step);
      }
#pragma unroll
      for (int q = 0; q < kTurn; ++q) turn[q].add_to(sum);
    }
    for (; kTurn > 1 && row < end; row += kRowWarps, dc_at += dc_turn, a_at += a_turn) {
      Row last;
      last.load(dc_at, a_at, count_i, count_j, step);
      last.add_to(sum);
    }
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      if (i >= count_i) break;
      __syncthreads();
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) shared[(warp * kBlocks + j) * kWarp + lane] = sum[i][j];
      __syncthreads();
      const int j = warp;
      if (j >= count_j || k >= rank) continue;
      A total = 0;
      for (int w = 0; w < kRowWarps; ++w) total += shared[(w * kBlocks + j) * kWarp + lane];
      partial[((chunk * outputs + first_i + i) * inputs + first_j + j) * rank + k] = total;
    }
  }
}

}  // namespace

void couple(const Exec& exec, const ConstView& a, const ConstView& s, const CouplingSteps& steps, const View& c) {
  const Dim rows = a.size(0), rank = a.size(2);
  if (c.numel() == 0) return;
  const dim3 threads(kWarp, kThreads / kWarp);
  dispatch_floating(a.dtype, "blast", [&]<class T>() {
    using A = accumulate_t<T>;
    const auto run = [&](auto* kernel, Dim at_once) {
      const dim3 grid(blocks_for(rows, Dim{threads.y} * kRowsAtOnce, kMaxBlocks), blocks_for(rank, kWarp * at_once));
      kernel<<<grid, threads, 0, queue(exec)>>>(rows, rank, steps, s.as<A>(), a.as<T>(), a.step(0), c.as<T>(),
                                                c.step(0));
    };
    const bool in_pairs =
        rank % 2 == 0 && aligned_for(a.as<T>(), 2) && aligned_for(c.as<T>(), 2) && aligned_for(s.as<A>(), 2);
    constexpr int kMost = sizeof(T) == 8 ? 8 : 16;  // that registers hold
    if (in_pairs && steps.inputs <= 6) run(couple_pairs<T, 6>, 2);
    else if (in_pairs && steps.inputs <= kMost) run(couple_pairs<T, kMost>, 2);
    else run(couple_values<T>, 1);
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void couple_gradient(const Exec& exec, const ConstView& a, const ConstView& dc, const View& ds) {
  const Dim rows = a.size(0), rank = a.size(2), inputs = a.size(1), outputs = dc.size(1);
  Array partial;
  const auto launch = [&]<int kBlocks>() {
    dispatch_floating(a.dtype, "blast", [&]<class T>() {
      const Dim tiles = ceil_div(rank, kWarp) * ceil_div(outputs, kBlocks);
      const Dim chunks = gradient_chunks(rows, tiles, kGradientSlots<T>);
      partial = Array::empty({chunks, outputs * inputs * rank}, ds.dtype, exec.device);
      const dim3 grid(blocks_for(rank, kWarp), static_cast<unsigned>(chunks), blocks_for(outputs, kBlocks));
      gradient_parts<T, kBlocks><<<grid, kThreads, 0, queue(exec)>>>(rows, rank, outputs, inputs, a.as<T>(), a.step(0),
                                                                     dc.as<T>(), dc.step(0),
                                                                     View(partial).as<accumulate_t<T>>());
    });
  };
  const Dim most = std::max(inputs, outputs);
  if (most <= 4) launch.template operator()<4>();
  else if (most <= 6) launch.template operator()<6>();
  else launch.template operator()<8>();
  ASHLAR_CUDA_CHECK_LAUNCH();
  const Dim values = ds.numel();
  sum_to(exec, partial, View{ds.data, ds.dtype, Shape{1, values}, {values, 1}, ds.device});
}

}  // namespace ashlar::kernels::blast
