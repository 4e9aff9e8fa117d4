// Layer normalisation of rows that a warp holds in its registers, in f32: each value crosses memory once.
#include "kernels/layer_norm/cuda.cuh"

namespace ashlar::kernels::layer_norm {
namespace {

using namespace device;

constexpr int kWarps = kThreads / kWarp, kMaxVectors = 4;  // of a lane

template <class T>
constexpr int kWide = static_cast<int>(16 / sizeof(T));  // values of a vector

// A lane's part of a row: the vectors lane, lane + 32, …
template <class T, int kVectors>
struct Part {
  float value[kVectors][kWide<T>];
};

// body(k, i, column) for value i of vector k; vectors beyond the row are left out.
template <class T, int kVectors, class Body>
__device__ void for_values(int columns, int lane, const Body& body) {
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int first = (k * kWarp + lane) * kWide<T>;
    if (first >= columns) break;
#pragma unroll
    for (int i = 0; i < kWide<T>; ++i) body(k, i, first + i);
  }
}

template <int kVectors, class T>
__device__ void read(const T* row, int columns, int lane, Part<T, kVectors>& part) {
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int first = (k * kWarp + lane) * kWide<T>;
    if (first >= columns) break;
    const Pack<T, kWide<T>> pack = load<kWide<T>>(row + first);
#pragma unroll
    for (int i = 0; i < kWide<T>; ++i) part.value[k][i] = convert<float>(pack.value[i]);
  }
}

// Also rounds the values to what is written.
template <int kVectors, class T>
__device__ void write(Part<T, kVectors>& part, int columns, int lane, T* row) {
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int first = (k * kWarp + lane) * kWide<T>;
    if (first >= columns) break;
    Pack<T, kWide<T>> pack;
#pragma unroll
    for (int i = 0; i < kWide<T>; ++i) {
      pack.value[i] = rounded<T>(part.value[k][i]);
      part.value[k][i] = convert<float>(pack.value[i]);
    }
    store<kWide<T>>(pack, row + first);
  }
}

template <class T, int kVectors>
__global__ void __launch_bounds__(kThreads)
    forward_rows(Dim rows, int columns, Rows<const T> x, Rows<const T> branch, const float* weight, const float* bias,
                 float eps, Rows<T> sum, Rows<T> y, float* mean, float* rstd) {
  using Own = Part<T, kVectors>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Own w, b;
  for_values<T, kVectors>(columns, lane, [&](int k, int i, int c) { w.value[k][i] = weight[c], b.value[k][i] = bias[c]; });
  for (Dim r = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp; r < rows; r += Dim{gridDim.x} * kWarps) {
    Own v;
    read(x.row(r), columns, lane, v);
    if (branch.data) {
      Own added;
      read(branch.row(r), columns, lane, added);
      for_values<T, kVectors>(columns, lane, [&](int k, int i, int) { v.value[k][i] += added.value[k][i]; });
      write(v, columns, lane, sum.row(r));
    }
    float total = 0, squares = 0;
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) { total += v.value[k][i]; });
    const float average = warp_sum(total) / static_cast<float>(columns);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      v.value[k][i] -= average;
      squares += v.value[k][i] * v.value[k][i];
    });
    const float scale = 1 / sqrt(warp_sum(squares) / static_cast<float>(columns) + eps);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      v.value[k][i] = v.value[k][i] * scale * w.value[k][i] + b.value[k][i];
    });
    write(v, columns, lane, y.row(r));
    if (lane == 0) mean[r] = average, rstd[r] = scale;
  }
}

// Of a block. With three vectors a lane (768 columns in bf16) a multiprocessor has registers for two blocks of six warps, but
// for only one of eight.
template <int kVectors>
constexpr int kBackwardWarps = kVectors == 3 ? 6 : 8;

// As backward_rows in cuda.cu, a warp for each row of the block's share; the sums of its warps are added in order. The weights
// wait in shared memory, where they take no registers.
template <class T, int kVectors>
__global__ void __launch_bounds__(kBackwardWarps<kVectors> * kWarp, kVectors < kMaxVectors ? 2 : 1)
    backward_rows(Dim rows, int columns, Rows<const T> dy, Rows<const T> x, const float* weight, const float* mean,
                  const float* rstd, Rows<const T> add, Rows<T> dx, float* partial) {
  using Own = Part<T, kVectors>;
  constexpr int kOwnWarps = kBackwardWarps<kVectors>, kOwnThreads = kOwnWarps * kWarp;
  extern __shared__ __align__(16) unsigned char memory[];
  float* const weights = reinterpret_cast<float*>(memory);  // (columns)
  float* const sums = weights + columns;                    // (2, columns)
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  for (int c = thread; c < columns; c += kOwnThreads) weights[c] = weight[c];
  __syncthreads();
  Own dweight, dbias;
  for_values<T, kVectors>(columns, lane, [&](int k, int i, int) { dweight.value[k][i] = dbias.value[k][i] = 0; });
  const Dim begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + Dim{1}) / gridDim.x;
  for (Dim r = begin + warp; r < end; r += kOwnWarps) {
    Own g, n, result;  // result: first what is added to it
    read(dy.row(r), columns, lane, g);
    read(x.row(r), columns, lane, n);
    if (add.data) read(add.row(r), columns, lane, result);
    const float average = mean[r], scale = rstd[r];
    float sum_g = 0, sum_gn = 0;
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int c) {
      float &gradient = g.value[k][i], &normal = n.value[k][i];
      normal = (normal - average) * scale;
      dweight.value[k][i] += gradient * normal;
      dbias.value[k][i] += gradient;
      gradient *= weights[c];
      sum_g += gradient;
      sum_gn += gradient * normal;
    });
    if (!dx.data) continue;
    const float mean_g = warp_sum(sum_g) / static_cast<float>(columns);
    const float mean_gn = warp_sum(sum_gn) / static_cast<float>(columns);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      const float value = scale * (g.value[k][i] - mean_g - n.value[k][i] * mean_gn);
      result.value[k][i] = add.data ? value + result.value[k][i] : value;
    });
    write(result, columns, lane, dx.row(r));
  }
  if (!partial) return;
  for (int turn = 0; turn < kOwnWarps; ++turn) {
    if (warp == turn) {
      for_values<T, kVectors>(columns, lane, [&](int k, int i, int c) {
        sums[c] = turn == 0 ? dweight.value[k][i] : sums[c] + dweight.value[k][i];
        sums[columns + c] = turn == 0 ? dbias.value[k][i] : sums[columns + c] + dbias.value[k][i];
      });
    }
    __syncthreads();
  }
  for (int c = thread; c < columns; c += kOwnThreads) {
    partial[Dim{blockIdx.x} * columns + c] = sums[c];
    partial[(Dim{gridDim.x} + blockIdx.x) * columns + c] = sums[columns + c];
  }
}

// body.operator()<T, kVectors>() for rows like those of x.
template <class Body>
void dispatch(const ConstView& x, const Body& body) {
  dispatch_f32_bf16(x.dtype, [&]<class T>() {
    switch ((x.size(1) - 1) / (kWide<T> * kWarp)) {
      case 0: return body.template operator()<T, 1>();
      case 1: return body.template operator()<T, 2>();
      case 2: return body.template operator()<T, 3>();
      default: return body.template operator()<T, kMaxVectors>();
    }
  });
}

}  // namespace

bool fits_registers(std::initializer_list<ConstView> matrices) {
  return std::ranges::all_of(matrices, [](const ConstView& m) {
    if (!m) return true;
    const Dim wide = 16 / static_cast<Dim>(size_of(m.dtype));
    return m.dtype != DType::f64 && m.size(1) % wide == 0 && m.size(1) <= kMaxVectors * wide * kWarp &&
           m.step(0) % wide == 0 && reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0;
  });
}

void forward_in_registers(const Exec& exec, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                          View sum, View y, View mean, View rstd) {
  const Dim rows = x.size(0);
  const int columns = static_cast<int>(x.size(1));
  // Warps go through several rows, for which they have weight and bias.
  const unsigned blocks = blocks_for(rows, kWarps, 1024);
  dispatch(x, [&]<class T, int kVectors>() {
    forward_rows<T, kVectors><<<blocks, kThreads, 0, queue(exec)>>>(
        rows, columns, rows_of<const T>(x), rows_of<const T>(branch), weight.as<float>(), bias.as<float>(),
        static_cast<float>(eps), rows_of<T>(sum), rows_of<T>(y), mean.as<float>(), rstd.as<float>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void backward_in_registers(const Exec& exec, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                           ConstView add, View dx, View partial, unsigned blocks) {
  const Dim rows = x.size(0);
  const int columns = static_cast<int>(x.size(1));
  const std::size_t memory = (partial ? 3 : 1) * sizeof(float) * static_cast<std::size_t>(columns);
  dispatch(x, [&]<class T, int kVectors>() {
    backward_rows<T, kVectors><<<blocks, kBackwardWarps<kVectors> * kWarp, memory, queue(exec)>>>(
        rows, columns, rows_of<const T>(dy), rows_of<const T>(x), weight.as<float>(), mean.as<float>(), rstd.as<float>(),
        rows_of<const T>(add), rows_of<T>(dx), partial.as<float>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::layer_norm
