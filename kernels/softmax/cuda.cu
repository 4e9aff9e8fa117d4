// Softmax on CUDA: a block for each row, of one warp where rows are short. The first pass reads a row from memory, the others
// from the caches.
#include <limits>

#include "kernels/device.cuh"
#include "kernels/softmax/checks.h"
#include "kernels/softmax/softmax.h"
#include "kernels/vectors.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// body(c) for the packs of N columns of this thread.
template <int N, class Body>
__device__ void for_packs(Dim columns, const Body& body) {
  for (Dim c = Dim{threadIdx.x} * N; c < columns; c += Dim{blockDim.x} * N) body(c);
}

// A thread overwrites, in the last pass, what it alone reads: y may be x.
template <int N, class T>
__global__ void forward_rows(Dim rows, Dim columns, const T* x, T* y) {
  using A = accumulate_t<T>;
  __shared__ A shared[kWarp];
  for (Dim r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* const from = x + r * columns;
    A max = -std::numeric_limits<A>::infinity();
    for_packs<N>(columns, [&](Dim c) {
      const Pack<T, N> values = load<N>(from + c);
      for (int i = 0; i < N; ++i) max = fmax(max, convert<A>(values.value[i]));
    });
    max = block_max(max, shared);
    A sum = 0;
    for_packs<N>(columns, [&](Dim c) {
      const Pack<T, N> values = load<N>(from + c);
      for (int i = 0; i < N; ++i) sum += exp(convert<A>(values.value[i]) - max);
    });
    const A factor = 1 / block_sum(sum, shared);
    for_packs<N>(columns, [&](Dim c) {
      Pack<T, N> values = load<N>(from + c);
      for (int i = 0; i < N; ++i) values.value[i] = rounded<T>(exp(convert<A>(values.value[i]) - max) * factor);
      store<N>(values, y + r * columns + c);
    });
  }
}

template <int N, class T>
__global__ void backward_rows(Dim rows, Dim columns, const T* y, const T* dy, T* dx) {
  using A = accumulate_t<T>;
  __shared__ A shared[kWarp];
  for (Dim r = blockIdx.x; r < rows; r += gridDim.x) {
    const T *const result = y + r * columns, *const gradient = dy + r * columns;
    A sum = 0;
    for_packs<N>(columns, [&](Dim c) {
      const Pack<T, N> values = load<N>(result + c), gradients = load<N>(gradient + c);
      for (int i = 0; i < N; ++i) sum += convert<A>(values.value[i]) * convert<A>(gradients.value[i]);
    });
    const A dot = block_sum(sum, shared);
    for_packs<N>(columns, [&](Dim c) {
      Pack<T, N> values = load<N>(result + c);
      const Pack<T, N> gradients = load<N>(gradient + c);
      for (int i = 0; i < N; ++i) {
        values.value[i] = rounded<T>(convert<A>(values.value[i]) * (convert<A>(gradients.value[i]) - dot));
      }
      store<N>(values, dx + r * columns + c);
    });
  }
}

// launch.template operator()<N>(blocks, threads), with packs of N columns.
template <class T, class Launch>
void for_rows(const ConstView& x, std::initializer_list<ConstView> all, const Launch& launch) {
  if (x.numel() == 0) return;
  const unsigned threads = x.size(1) >= 2048 ? kThreads : kWarp;
  const bool packs = std::ranges::all_of(all, [](const ConstView& v) { return rows_in_vectors(v); });
  const unsigned blocks = blocks_for(x.size(0), 1, 1 << 15);
  if (packs) launch.template operator()<kWide<T>>(blocks, threads);
  else launch.template operator()<1>(blocks, threads);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace

void softmax_forward(const Exec& exec, ConstView x, View y) {
  softmax::check_forward(x, y);
  dispatch_floating(x.dtype, "softmax_forward", [&]<class T>() {
    for_rows<T>(x, {x, y}, [&]<int N>(unsigned blocks, unsigned threads) {
      forward_rows<N><<<blocks, threads, 0, queue(exec)>>>(x.size(0), x.size(1), x.as<T>(), y.as<T>());
    });
  });
}

void softmax_backward(const Exec& exec, ConstView y, ConstView dy, View dx) {
  softmax::check_backward(y, dy, dx);
  dispatch_floating(y.dtype, "softmax_backward", [&]<class T>() {
    for_rows<T>(y, {y, dy, dx}, [&]<int N>(unsigned blocks, unsigned threads) {
      backward_rows<N><<<blocks, threads, 0, queue(exec)>>>(y.size(0), y.size(1), y.as<T>(), dy.as<T>(), dx.as<T>());
    });
  });
}

}  // namespace ashlar::kernels::cuda
