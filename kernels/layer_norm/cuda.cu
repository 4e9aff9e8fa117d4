// Layer normalisation on CUDA of rows of any length (those that registers hold: in_registers.cu); in backward, as long as two
// sums for each column fit a block's shared memory. Forward: a warp for each row. Backward: a block walks its share of the rows
// and keeps the sums for dweight and dbias in shared memory, so that dy and x cross memory once; the blocks' sums are added in
// order.
#include "core/array.h"
#include "kernels/layer_norm/checks.h"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/vectors.h"
#include "kernels/views.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace layer_norm;

constexpr int kWarps = kThreads / kWarp;

// Columns that a thread takes at once where all rows are in such packs, and 1 otherwise: N below. The largest values are those
// of weights and sums.
template <class T>
constexpr int kColumns = kWide<accumulate_t<T>>;
template <class T>
bool in_packs(std::initializer_list<ConstView> matrices) {
  return std::ranges::all_of(matrices, [](const ConstView& m) { return rows_in_vectors(m, kColumns<T>); });
}

// sum = x + branch, where branch is given, and the norm of it; sum may be x or branch: a value is read before it is
// written, and afterwards by the lane that wrote it.
template <int N, class T>
__global__ void forward_rows(Dim rows, Dim columns, Rows<const T> x, Rows<const T> branch, const accumulate_t<T>* weight,
                             const accumulate_t<T>* bias, accumulate_t<T> eps, Rows<T> sum, Rows<T> y,
                             accumulate_t<T>* means, accumulate_t<T>* rstds) {
  using A = accumulate_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto for_packs = [&](const auto& body) {  // body(column)
    for (Dim c = lane * N; c < columns; c += kWarp * N) body(c);
  };
  for (Dim r = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp; r < rows; r += Dim{gridDim.x} * kWarps) {
    // Three passes over a row: the first reads it from memory, the others from the caches.
    const T* from = x.row(r);
    A total = 0;
    if (branch.data) {
      T* const kept = sum.row(r);
      for_packs([&](Dim c) {
        auto values = load<N>(from + c);
        const auto added = load<N>(branch.row(r) + c);
        for (int i = 0; i < N; ++i) {
          values.value[i] = convert<T>(convert<A>(values.value[i]) + convert<A>(added.value[i]));
          total += convert<A>(values.value[i]);  // rounded, as the other passes and backward read it
        }
        store<N>(values, kept + c);
      });
      from = kept;
    } else {
      for_packs([&](Dim c) {
        const auto values = load<N>(from + c);
        for (int i = 0; i < N; ++i) total += convert<A>(values.value[i]);
      });
    }
    const A mean = warp_sum(total) / static_cast<A>(columns);
    A squares = 0;
    for_packs([&](Dim c) {
      const auto values = load<N>(from + c);
      for (int i = 0; i < N; ++i) {
        const A centered = convert<A>(values.value[i]) - mean;
        squares += centered * centered;
      }
    });
    const A rstd = 1 / sqrt(warp_sum(squares) / static_cast<A>(columns) + eps);
    for_packs([&](Dim c) {
      auto values = load<N>(from + c);
      const auto w = load<N>(weight + c), b = load<N>(bias + c);
      for (int i = 0; i < N; ++i) {
        values.value[i] =
            convert<T>((convert<A>(values.value[i]) - mean) * rstd * w.value[i] + b.value[i]);
      }
      store<N>(values, y.row(r) + c);
    });
    if (lane == 0) means[r] = mean, rstds[r] = rstd;
  }
}

template <class A, int N>
__device__ void add_to(A* sum, const Pack<A, N>& values) {
  auto total = load<N>(sum);
  for (int i = 0; i < N; ++i) total.value[i] += values.value[i];
  store<N>(total, sum);
}

// With n = (x - mean) rstd and g = dy weight:
//   dx = rstd (g - mean(g) - n mean(g n)) + add      dweight = Σ_rows dy n      dbias = Σ_rows dy
// partial (2, blocks, columns): the sums of each block; absent when neither gradient is wanted.
template <int N, class T>
__global__ void backward_rows(Dim rows, Dim columns, Rows<const T> dy, Rows<const T> x, const accumulate_t<T>* weight,
                              const accumulate_t<T>* means, const accumulate_t<T>* rstds, Rows<const T> add, Rows<T> dx,
                              accumulate_t<T>* partial) {
  using A = accumulate_t<T>;
  extern __shared__ __align__(16) unsigned char memory[];
  A* const dweight = reinterpret_cast<A*>(memory);  // (columns); each thread owns its columns
  A* const dbias = dweight + columns;
  __shared__ A shared[2][kWarp];
  const auto for_packs = [&](const auto& body) {  // body(column)
    for (Dim c = Dim{threadIdx.x} * N; c < columns; c += kThreads * N) body(c);
  };
  if (partial) {
    for_packs([&](Dim c) { store<N>(Pack<A, N>{}, dweight + c), store<N>(Pack<A, N>{}, dbias + c); });
  }
  const Dim begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + Dim{1}) / gridDim.x;
  for (Dim r = begin; r < end; ++r) {
    const A mean = means[r], rstd = rstds[r];
    A sum_g = 0, sum_gn = 0;
    for_packs([&](Dim c) {
      const auto gradient = load<N>(dy.row(r) + c), values = load<N>(x.row(r) + c);
      const auto w = load<N>(weight + c);
      Pack<A, N> to_weight{}, to_bias{};
      for (int i = 0; i < N; ++i) {
        const A d = convert<A>(gradient.value[i]), n = (convert<A>(values.value[i]) - mean) * rstd;
        const A g = d * w.value[i];
        sum_g += g;
        sum_gn += g * n;
        to_weight.value[i] = d * n;
        to_bias.value[i] = d;
      }
      if (partial) add_to(dweight + c, to_weight), add_to(dbias + c, to_bias);
    });
    if (!dx.data) continue;
    const A mean_g = block_sum(sum_g, shared[0]) / static_cast<A>(columns);
    const A mean_gn = block_sum(sum_gn, shared[1]) / static_cast<A>(columns);
    for_packs([&](Dim c) {
      const auto gradient = load<N>(dy.row(r) + c), values = load<N>(x.row(r) + c);
      const auto w = load<N>(weight + c);
      const auto added = add.data ? load<N>(add.row(r) + c) : Pack<T, N>{};
      Pack<T, N> result;
      for (int i = 0; i < N; ++i) {
        const A n = (convert<A>(values.value[i]) - mean) * rstd, g = convert<A>(gradient.value[i]) * w.value[i];
        const A value = rstd * (g - mean_g - n * mean_gn);
        result.value[i] = convert<T>(add.data ? value + convert<A>(added.value[i]) : value);
      }
      store<N>(result, dx.row(r) + c);
    });
  }
  if (!partial) return;
  for_packs([&](Dim c) {
    store<N>(load<N>(dweight + c), partial + blockIdx.x * columns + c);
    store<N>(load<N>(dbias + c), partial + (gridDim.x + blockIdx.x) * columns + c);
  });
}

}  // namespace

void layer_norm_forward(const Exec& exec, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                        View sum, View y, View mean, View rstd) {
  check_forward(x, branch, weight, bias, sum, y, mean, rstd);
  const Dim rows = x.size(0), columns = x.size(1);
  if (rows * columns == 0) return;
  if (fits_registers({x, branch, sum, y}, {weight, bias})) {
    return forward_in_registers(exec, x, branch, weight, bias, eps, sum, y, mean, rstd);
  }
  dispatch_floating(x.dtype, "layer_norm_forward", [&]<class T>() {
    using A = accumulate_t<T>;
    const auto run = [&](auto* kernel) {
      kernel<<<blocks_for(rows, kWarps), kThreads, 0, queue(exec)>>>(
          rows, columns, rows_of<const T>(x), rows_of<const T>(branch), weight.as<A>(), bias.as<A>(), static_cast<A>(eps),
          rows_of<T>(sum), rows_of<T>(y), mean.as<A>(), rstd.as<A>());
    };
    run(in_packs<T>({x, branch, sum, y, weight, bias}) ? forward_rows<kColumns<T>, T> : forward_rows<1, T>);
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void layer_norm_backward(const Exec& exec, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias) {
  check_backward(dy, x, weight, mean, rstd, add, dx, dweight, dbias);
  const Dim rows = x.size(0), columns = x.size(1);
  const bool sums = dweight || dbias;
  if (rows * columns == 0) return clear({dweight, dbias});
  // Several blocks on every multiprocessor of a large GPU; the number is part of the order of the sums.
  const unsigned blocks = blocks_for(rows, 32, 512);
  Array partial;
  if (sums) partial = Array::empty({2, static_cast<Dim>(blocks), columns}, weight.dtype, exec.device);
  const View parts = partial;
  if (fits_registers({dy, x, add, dx}, {weight})) {
    backward_in_registers(exec, dy, x, weight, mean, rstd, add, dx, parts, blocks);
  } else {
    dispatch_floating(x.dtype, "layer_norm_backward", [&]<class T>() {
      using A = accumulate_t<T>;
      const std::size_t memory = sums ? 2 * sizeof(A) * static_cast<std::size_t>(columns) : 0;
      const auto run = [&](auto* kernel) {
        allow_shared_memory(exec, kernel, memory);
        kernel<<<blocks, kThreads, memory, queue(exec)>>>(
            rows, columns, rows_of<const T>(dy), rows_of<const T>(x), weight.as<A>(), mean.as<A>(), rstd.as<A>(),
            rows_of<const T>(add), rows_of<T>(dx), parts.as<A>());
      };
      run(in_packs<T>({dy, x, add, dx, weight}) ? backward_rows<kColumns<T>, T> : backward_rows<1, T>);
    });
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  if (dweight) sum_to(exec, partial.select(0, 0), as_row(dweight));
  if (dbias) sum_to(exec, partial.select(0, 1), as_row(dbias));
}

}  // namespace ashlar::kernels::cuda
