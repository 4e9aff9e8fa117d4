// Layer normalisation on CUDA of rows of any length (those that registers hold: in_registers.cu). Forward: a warp for each
// row. Backward: a block walks its share of the rows and keeps the sums for dweight and dbias in shared memory, so that dy
// and x cross memory once; the blocks' sums are added in order.
#include "kernels/layer_norm/checks.h"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views.h"

namespace ashlar::kernels::cuda {

void sum_to(const Exec& exec, ConstView x, View y);

namespace {

using namespace device;
using namespace layer_norm;

constexpr int kWarps = kThreads / kWarp;

// sum = x + branch, where branch is given, and the norm of it; sum may be x or branch: a value is read before it is
// written, and afterwards by the lane that wrote it.
template <class T>
__global__ void forward_rows(Dim rows, Dim columns, Rows<const T> x, Rows<const T> branch, const accumulate_t<T>* weight,
                             const accumulate_t<T>* bias, accumulate_t<T> eps, Rows<T> sum, Rows<T> y,
                             accumulate_t<T>* mean, accumulate_t<T>* rstd) {
  using A = accumulate_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (Dim r = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp; r < rows; r += Dim{gridDim.x} * kWarps) {
    // Three passes over a row: the first reads it from memory, the others from the caches.
    const T* from = x.row(r);
    A total = 0;
    if (branch.data) {
      const T* const added = branch.row(r);
      T* const kept = sum.row(r);
      for (Dim c = lane; c < columns; c += kWarp) {
        const T value = convert<T>(convert<A>(from[c]) + convert<A>(added[c]));
        kept[c] = value;
        total += convert<A>(value);  // rounded, as the other passes and backward read it
      }
      from = kept;
    } else {
      for (Dim c = lane; c < columns; c += kWarp) total += convert<A>(from[c]);
    }
    const A average = warp_sum(total) / static_cast<A>(columns);
    A squares = 0;
    for (Dim c = lane; c < columns; c += kWarp) {
      const A centered = convert<A>(from[c]) - average;
      squares += centered * centered;
    }
    const A scale = 1 / sqrt(warp_sum(squares) / static_cast<A>(columns) + eps);
    T* const to = y.row(r);
    for (Dim c = lane; c < columns; c += kWarp) {
      to[c] = convert<T>((convert<A>(from[c]) - average) * scale * weight[c] + bias[c]);
    }
    if (lane == 0) mean[r] = average, rstd[r] = scale;
  }
}

// With n = (x - mean) rstd and g = dy weight:
//   dx = rstd (g - mean(g) - n mean(g n)) + add      dweight = Σ_rows dy n      dbias = Σ_rows dy
// partial (2, blocks, columns): the sums of each block; absent when neither gradient is wanted.
template <class T>
__global__ void backward_rows(Dim rows, Dim columns, Rows<const T> dy, Rows<const T> x, const accumulate_t<T>* weight,
                              const accumulate_t<T>* mean, const accumulate_t<T>* rstd, Rows<const T> add, Rows<T> dx,
                              accumulate_t<T>* partial) {
  using A = accumulate_t<T>;
  extern __shared__ __align__(16) unsigned char memory[];
  A* const dweight = reinterpret_cast<A*>(memory);  // (columns); each thread owns its columns
  A* const dbias = dweight + columns;
  __shared__ A shared[2][kWarp];
  if (partial) {
    for (Dim c = threadIdx.x; c < columns; c += kThreads) dweight[c] = dbias[c] = 0;
  }
  const Dim begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + Dim{1}) / gridDim.x;
  for (Dim r = begin; r < end; ++r) {
    const T *const dy_row = dy.row(r), *const x_row = x.row(r);
    const A average = mean[r], scale = rstd[r];
    A sum_g = 0, sum_gn = 0;
    for (Dim c = threadIdx.x; c < columns; c += kThreads) {
      const A d = convert<A>(dy_row[c]), n = (convert<A>(x_row[c]) - average) * scale, g = d * weight[c];
      sum_g += g;
      sum_gn += g * n;
      if (partial) {
        dweight[c] += d * n;
        dbias[c] += d;
      }
    }
    if (!dx.data) continue;
    const A mean_g = block_sum(sum_g, shared[0]) / static_cast<A>(columns);
    const A mean_gn = block_sum(sum_gn, shared[1]) / static_cast<A>(columns);
    T* const to = dx.row(r);
    for (Dim c = threadIdx.x; c < columns; c += kThreads) {
      const A n = (convert<A>(x_row[c]) - average) * scale, g = convert<A>(dy_row[c]) * weight[c];
      A value = scale * (g - mean_g - n * mean_gn);
      if (add.data) value += convert<A>(add.row(r)[c]);
      to[c] = convert<T>(value);
    }
  }
  if (!partial) return;
  for (Dim c = threadIdx.x; c < columns; c += kThreads) {
    partial[blockIdx.x * columns + c] = dweight[c];
    partial[(gridDim.x + blockIdx.x) * columns + c] = dbias[c];
  }
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
    forward_rows<T><<<blocks_for(rows, kWarps), kThreads, 0, queue(exec)>>>(
        rows, columns, rows_of<const T>(x), rows_of<const T>(branch), weight.as<A>(), bias.as<A>(), static_cast<A>(eps),
        rows_of<T>(sum), rows_of<T>(y), mean.as<A>(), rstd.as<A>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void layer_norm_backward(const Exec& exec, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias) {
  check_backward(dy, x, weight, mean, rstd, add, dx, dweight, dbias);
  const Dim rows = x.size(0), columns = x.size(1);
  const bool sums = dweight || dbias;
  if (rows * columns == 0) {
    for (const View& gradient : {dweight, dbias}) {
      if (gradient) ashlar::cuda::fill(exec.device.index, gradient, 0);
    }
    return;
  }
  // Several blocks on every multiprocessor of a large GPU; the number is part of the order of the sums.
  const unsigned blocks = blocks_for(rows, 32, 512);
  Array partial;
  if (sums) partial = Array::empty({2, static_cast<Dim>(blocks), columns}, weight.dtype, exec.device);
  const View parts = sums ? View(partial) : View();
  if (fits_registers({dy, x, add, dx}, {weight})) {
    backward_in_registers(exec, dy, x, weight, mean, rstd, add, dx, parts, blocks);
  } else {
    dispatch_floating(x.dtype, "layer_norm_backward", [&]<class T>() {
      using A = accumulate_t<T>;
      const std::size_t memory = sums ? 2 * sizeof(A) * static_cast<std::size_t>(columns) : 0;
      allow_shared_memory(exec, backward_rows<T>, memory);
      backward_rows<T><<<blocks, kThreads, memory, queue(exec)>>>(
          rows, columns, rows_of<const T>(dy), rows_of<const T>(x), weight.as<A>(), mean.as<A>(), rstd.as<A>(),
          rows_of<const T>(add), rows_of<T>(dx), parts.as<A>());
    });
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  if (dweight) sum_to(exec, partial.select(0, 0), as_row(dweight));
  if (dbias) sum_to(exec, partial.select(0, 1), as_row(dbias));
}

}  // namespace ashlar::kernels::cuda
