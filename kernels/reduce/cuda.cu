// Sums on CUDA. Work is cut by shape and alignment alone and pieces are added in order: the bits of a result depend on x and
// on how it is aligned.
#include "core/array.h"
#include "kernels/device.cuh"
#include "kernels/reduce/checks.h"
#include "kernels/reduce/layout.h"
#include "kernels/reduce/reduce.h"
#include "kernels/tensor_update.cuh"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace sums;

// A block for each sum; its threads stride over what is summed and are added up in order.
template <class T, class Y>
__global__ void block_sums(Axes kept, Axes reduced, const T* x, Y* y) {
  __shared__ double shared[kWarp];
  const Dim sums = kept.numel(), values = reduced.numel();
  for (Dim k = blockIdx.x; k < sums; k += gridDim.x) {
    const Axes::Offsets at = kept.offsets(k);
    double sum = 0;
    for (Dim r = threadIdx.x; r < values; r += kThreads) sum += convert<double>(x[at.x + reduced.offsets(r).x]);
    const double total = block_sum(sum, shared);
    if (threadIdx.x == 0) y[at.y] = convert<Y>(total);
  }
}

// x (outer, rows, columns) with contiguous columns. Block (b, chunk, o) sums some columns over its chunk of rows into partial
// (outer, chunks, columns): eight packs of N columns, which are the 128 bytes that a row is read by, or 32 single ones. The
// block's threads are lanes along a row on as many rows as there are threads for.
struct ColumnSums {
  Dim outer, rows, columns, chunks;
  Dim x_outer, ld, y_outer;  // steps
};
template <int N>
constexpr int kLanes = N == 1 ? kWarp : 8;
template <int N>
constexpr int kColumns = kLanes<N> * N;
template <int N>
constexpr int kRowLanes = kThreads / kLanes<N>;

template <int N, class T, class Y>
__global__ void column_sums(ColumnSums s, const T* x, Y* partial) {
  using A = accumulate_t<T>;
  constexpr int kWarps = kThreads / kWarp;
  // Wider than its lanes where columns, by which it is read, would else be in banks in conflict.
  __shared__ A shared[kWarps][N][N == 8 ? 12 : kLanes<N>];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kLanes<N>, row_lane = thread / kLanes<N>;
  const Dim c = Dim{blockIdx.x} * kColumns<N> + lane * N, chunk = blockIdx.y;
  const Dim begin = s.rows * chunk / s.chunks, end = s.rows * (chunk + 1) / s.chunks;
  for (Dim o = blockIdx.z; o < s.outer; o += gridDim.z) {
    A sums[N] = {};
    if (c < s.columns) {
#pragma unroll 4
      for (Dim r = begin + row_lane; r < end; r += kRowLanes<N>) {
        const Pack<T, N> values = load<N>(x + o * s.x_outer + r * s.ld + c);
        for (int i = 0; i < N; ++i) sums[i] += convert<A>(values.value[i]);
      }
    }
    for (int step = kLanes<N>; step < kWarp; step *= 2) {
      for (int i = 0; i < N; ++i) sums[i] += __shfl_xor_sync(kAllLanes, sums[i], step);
    }
    __syncthreads();  // the sums before have been read
    if (thread % kWarp < kLanes<N>) {
      for (int i = 0; i < N; ++i) shared[thread / kWarp][i][lane] = sums[i];
    }
    __syncthreads();
    const Dim column = Dim{blockIdx.x} * kColumns<N> + thread;
    if (thread >= kColumns<N> || column >= s.columns) continue;
    A sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp][thread % N][thread / N];
    partial[o * s.y_outer + chunk * s.columns + column] = convert<Y>(sum);
  }
}

// A pack of columns is read at once where all of them are aligned.
template <class T>
bool in_packs(const ColumnSums& s, const T* x) {
  return aligned_for(x, kWide<T>) && s.columns % kWide<T> == 0 && s.ld % kWide<T> == 0 &&
         (s.outer == 1 || s.x_outer % kWide<T> == 0);
}

template <class T, class Y>
void launch_column_sums(const Exec& exec, const ColumnSums& s, const T* x, Y* y) {
  const auto launch = [&]<int N>() {
    const dim3 grid(blocks_for(s.columns, kColumns<N>, kMaxBlocks), static_cast<unsigned>(s.chunks),
                    blocks_for(s.outer, 1, 1 << 15));
    column_sums<N><<<grid, kThreads, 0, queue(exec)>>>(s, x, y);
  };
  if (in_packs(s, x)) launch.template operator()<kWide<T>>();
  else launch.template operator()<1>();
  ASHLAR_CUDA_CHECK_LAUNCH();
}

// Into how many chunks the rows are cut, each of which needs a row of partial sums and all of them a second pass: into none
// where a thread has few loads to make, else into as many as fill a large GPU.
template <class T>
Dim chunks_of(const ColumnSums& s, const T* x) {
  constexpr Dim kFewLoads = 16, kRowsPerChunk = 128, kBlocks = 1024;
  const bool packs = in_packs(s, x);
  if (s.rows <= kFewLoads * (packs ? kRowLanes<kWide<T>> : kRowLanes<1>)) return 1;
  const Dim blocks = s.outer * blocks_for(s.columns, packs ? kColumns<kWide<T>> : kColumns<1>, kMaxBlocks);
  return std::clamp<Dim>(kBlocks / blocks, 1, s.rows / kRowsPerChunk);
}

// y (outer, columns) = Σ_rows x
template <class T, class Y>
void sum_rows(const Exec& exec, ColumnSums s, const T* x, Y* y) {
  using A = accumulate_t<T>;
  s.chunks = chunks_of(s, x);
  if (s.chunks == 1) return launch_column_sums(exec, s, x, y);
  const Array partial = Array::empty({s.outer, s.chunks, s.columns}, dtype_of<A>(), exec.device);
  A* const parts = View(partial).as<A>();
  ColumnSums last{s.outer, s.chunks, s.columns, 1, s.chunks * s.columns, s.columns, s.y_outer};
  s.y_outer = last.x_outer;
  launch_column_sums(exec, s, x, parts);
  launch_column_sums(exec, last, static_cast<const A*>(parts), y);
}

// The tensors of one dtype among `xs`: partial sums of their chunks, and for each the sum of its partial sums in order.
template <class T>
struct SquaresItem {
  const T* data;
  Dim count;
  double* sum;
};
template <class T>
using SquaresTable = ParameterTable<SquaresItem<T>>;

template <class T>
__global__ void table_square_sums(const __grid_constant__ SquaresTable<T> table, double* partial) {
  __shared__ double shared[kWarp];
  const int tensor = table.find(blockIdx.x);
  const SquaresItem<T>& item = table.item[tensor];
  const Dim begin = (blockIdx.x - table.first[tensor]) * kTensorChunk, end = min(begin + kTensorChunk, item.count);
  double sum = 0;
  for (Dim i = begin + threadIdx.x; i < end; i += kThreads) {
    const double value = convert<double>(item.data[i]);
    sum += value * value;
  }
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

template <class T>
__global__ void add_partial_sums(const __grid_constant__ SquaresTable<T> table, const double* partial) {
  __shared__ double shared[kWarp];
  const int tensor = static_cast<int>(blockIdx.x);
  double sum = 0;
  for (Dim i = table.first[tensor] + threadIdx.x; i < table.first[tensor + 1]; i += kThreads) sum += partial[i];
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) *table.item[tensor].sum = total;
}

template <class T>
void launch(const Exec& exec, SquaresTable<T>& table) {
  if (table.count == 0) return;
  const Shape blocks{table.blocks()};
  const Array partial = Array::empty(blocks, DType::f64, exec.device);
  double* const parts = View(partial).as<double>();
  if (table.blocks() > 0) {
    table_square_sums<<<static_cast<unsigned>(table.blocks()), kThreads, 0, queue(exec)>>>(table, parts);
  }
  add_partial_sums<<<static_cast<unsigned>(table.count), kThreads, 0, queue(exec)>>>(table, parts);
  ASHLAR_CUDA_CHECK_LAUNCH();
  table = {};
}

}  // namespace

void sums_of_squares(const Exec& exec, std::span<const ConstView> xs, View y) {
  check_sums_of_squares(xs, y);
  const auto add = [&]<class T>() {
    SquaresTable<T> table;
    for (std::size_t i = 0; i < xs.size(); ++i) {
      if (xs[i].dtype != dtype_of<T>()) continue;
      if (table.full()) launch(exec, table);
      table.add({xs[i].as<T>(), xs[i].numel(), y.as<double>() + i}, xs[i].numel());
    }
    launch(exec, table);
  };
  add.template operator()<double>();
  add.template operator()<float>();
  add.template operator()<bfloat16>();
}

void sum_to(const Exec& exec, ConstView x, View y) {
  check_sum_to(x, y);
  if (y.numel() == 0) return;
  const Layout layout = layout_of(x, y);
  if (layout.reduced.count == 0) return copy(x, y);
  if (x.numel() == 0) return fill(y, 0);
  const int kept_axes = layout.kept.count;
  const bool columns = layout.reduced.count == 1 && (kept_axes == 1 || kept_axes == 2) && layout.kept.back().x == 1 &&
                       layout.kept.back().y == 1;
  dispatch_floating(x.dtype, "sum_to", [&]<class T>() {
    dispatch_floating(y.dtype, "sum_to", [&]<class Y>() {
      if (columns) {
        const Axis outer = kept_axes == 2 ? layout.kept.axis[0] : Axis{1, 0, 0}, &rows = layout.reduced.axis[0];
        const ColumnSums sums{outer.size, rows.size, layout.kept.back().size, 1, outer.x, rows.x, outer.y};
        return sum_rows(exec, sums, x.as<T>(), y.as<Y>());
      }
      const unsigned blocks = blocks_for(layout.kept.numel(), 1);
      block_sums<<<blocks, kThreads, 0, queue(exec)>>>(layout.kept, layout.reduced, x.as<T>(), y.as<Y>());
      ASHLAR_CUDA_CHECK_LAUNCH();
    });
  });
}

}  // namespace ashlar::kernels::cuda
