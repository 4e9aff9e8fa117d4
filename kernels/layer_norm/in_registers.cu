// Layer normalisation of rows that a warp holds in its registers, in f32: each value crosses memory once.
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/vectors.h"

namespace ashlar::kernels::layer_norm {
namespace {

using namespace device;

constexpr int kWarps = kThreads / kWarp, kMaxValues = 32;  // of a lane

// A lane's part of a row: the vectors lane, lane + 32, … of kWide values each.
template <class T, int kVectors>
struct Part {
  float value[kVectors][kWide<T>];
};

// Four values of a vector, as many as are loaded at once in f32. In shared memory those of neighbouring lanes follow each
// other, so that they lie in different banks: quad q is there from kQuad q on.
constexpr int kQuad = 4;
template <class T>
constexpr int kQuads = kWide<T> / kQuad;  // of a vector

// body(k, i, column, q) for values i … i + 4 of vector k.
template <class T, int kVectors, class Body>
__device__ void for_quads(int columns, int lane, const Body& body) {
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int first = (k * kWarp + lane) * kWide<T>;
    if (first >= columns) break;
#pragma unroll
    for (int i = 0; i < kWide<T>; i += kQuad) body(k, i, first + i, (k * kQuads<T> + i / kQuad) * kWarp + lane);
  }
}

// body(k, i, column) for value i of vector k; vectors beyond the row are left out.
template <class T, int kVectors, class Body>
__device__ void for_values(int columns, int lane, const Body& body) {
  for_quads<T, kVectors>(columns, lane, [&](int k, int first, int column, int) {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) body(k, first + i, column + i);
  });
}

// body(column, q) for this thread's quads of a row, where all of a block share it.
template <class T, int kVectors, int kBlockThreads, class Body>
__device__ void for_quads_of_block(int columns, const Body& body) {
  for (int q = static_cast<int>(threadIdx.x); q < kVectors * kQuads<T> * kWarp; q += kBlockThreads) {
    const int lane = q % kWarp, group = q / kWarp;
    const int column = (group / kQuads<T> * kWarp + lane) * kWide<T> + group % kQuads<T> * kQuad;
    if (column < columns) body(column, q);
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
    const Pack<T, kWide<T>> pack = rounded_pack<T>(part.value[k]);
    store<kWide<T>>(pack, row + first);
#pragma unroll
    for (int i = 0; i < kWide<T>; ++i) part.value[k][i] = convert<float>(pack.value[i]);
  }
}

template <class T, int kVectors>
__global__ void __launch_bounds__(kThreads)
    forward_rows(Dim rows, int columns, Rows<const T> x, Rows<const T> branch, const float* weight, const float* bias,
                 float eps, Rows<T> sum, Rows<T> y, float* means, float* rstds) {
  using Own = Part<T, kVectors>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Own w, b;
  for_quads<T, kVectors>(columns, lane, [&](int k, int i, int c, int) {
    const auto weights = load<kQuad>(weight + c), biases = load<kQuad>(bias + c);
#pragma unroll
    for (int q = 0; q < kQuad; ++q) w.value[k][i + q] = weights.value[q], b.value[k][i + q] = biases.value[q];
  });
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
    const float mean = warp_sum(total) / static_cast<float>(columns);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      v.value[k][i] -= mean;
      squares += v.value[k][i] * v.value[k][i];
    });
    const float rstd = 1 / sqrt(warp_sum(squares) / static_cast<float>(columns) + eps);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      v.value[k][i] = v.value[k][i] * rstd * w.value[k][i] + b.value[k][i];
    });
    write(v, columns, lane, y.row(r));
    if (lane == 0) means[r] = mean, rstds[r] = rstd;
  }
}

template <class T, int kVectors>
constexpr int kValues = kVectors * kWide<T>;  // of a lane

// Of a block. With 24 values a lane (768 columns) a multiprocessor has registers for two blocks of six warps, but for only one
// of eight.
template <class T, int kVectors>
constexpr int kBackwardWarps = kValues<T, kVectors> == 24 ? 6 : 8;

// Values of the longest row for that many vectors.
template <class T, int kVectors>
constexpr int kRow = kValues<T, kVectors> * kWarp;

// As backward_rows in cuda.cu, a warp for each row of the block's share; the sums of its warps are added in order. The weights
// wait in shared memory, where they take no registers.
template <class T, int kVectors>
__global__ void __launch_bounds__(kBackwardWarps<T, kVectors> * kWarp, kValues<T, kVectors> < kMaxValues ? 2 : 1)
    backward_rows(Dim rows, int columns, Rows<const T> dy, Rows<const T> x, const float* weight, const float* means,
                  const float* rstds, Rows<const T> add, Rows<T> dx, float* partial) {
  using Own = Part<T, kVectors>;
  constexpr int kOwnWarps = kBackwardWarps<T, kVectors>, kOwnThreads = kOwnWarps * kWarp;
  extern __shared__ __align__(16) unsigned char memory[];
  float* const weights = reinterpret_cast<float*>(memory);      // of a row, in quads
  float *const sums_w = weights + kRow<T, kVectors>, *const sums_b = sums_w + kRow<T, kVectors>;  // the same
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for_quads_of_block<T, kVectors, kOwnThreads>(columns, [&](int c, int q) {
    store<kQuad>(load<kQuad>(weight + c), weights + kQuad * q);
  });
  __syncthreads();
  Own dweight, dbias;
  for_values<T, kVectors>(columns, lane, [&](int k, int i, int) { dweight.value[k][i] = dbias.value[k][i] = 0; });
  const Dim begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + Dim{1}) / gridDim.x;
  for (Dim r = begin + warp; r < end; r += kOwnWarps) {
    Own g, n, result;  // result: first what is added to it
    read(dy.row(r), columns, lane, g);
    read(x.row(r), columns, lane, n);
    if (add.data) read(add.row(r), columns, lane, result);
    const float mean = means[r], rstd = rstds[r];
    float sum_g = 0, sum_gn = 0;
    for_quads<T, kVectors>(columns, lane, [&](int k, int first, int, int q) {
      const auto w = load<kQuad>(weights + kQuad * q);
#pragma unroll
      for (int i = first; i < first + kQuad; ++i) {
        float &gradient = g.value[k][i], &normal = n.value[k][i];
        normal = (normal - mean) * rstd;
        dweight.value[k][i] += gradient * normal;
        dbias.value[k][i] += gradient;
        gradient *= w.value[i - first];
        sum_g += gradient;
        sum_gn += gradient * normal;
      }
    });
    if (!dx.data) continue;
    const float mean_g = warp_sum(sum_g) / static_cast<float>(columns);
    const float mean_gn = warp_sum(sum_gn) / static_cast<float>(columns);
    for_values<T, kVectors>(columns, lane, [&](int k, int i, int) {
      const float value = rstd * (g.value[k][i] - mean_g - n.value[k][i] * mean_gn);
      result.value[k][i] = add.data ? value + result.value[k][i] : value;
    });
    write(result, columns, lane, dx.row(r));
  }
  if (!partial) return;
  const auto add_to = [](float* sum, const float* value, bool first) {
    auto total = first ? Pack<float, kQuad>{} : load<kQuad>(sum);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) total.value[i] += value[i];
    store<kQuad>(total, sum);
  };
  for (int turn = 0; turn < kOwnWarps; ++turn) {
    if (warp == turn) {
      for_quads<T, kVectors>(columns, lane, [&](int k, int i, int, int q) {
        add_to(sums_w + kQuad * q, dweight.value[k] + i, turn == 0);
        add_to(sums_b + kQuad * q, dbias.value[k] + i, turn == 0);
      });
    }
    __syncthreads();
  }
  for_quads_of_block<T, kVectors, kOwnThreads>(columns, [&](int c, int q) {
    store<kQuad>(load<kQuad>(sums_w + kQuad * q), partial + Dim{blockIdx.x} * columns + c);
    store<kQuad>(load<kQuad>(sums_b + kQuad * q), partial + (Dim{gridDim.x} + blockIdx.x) * columns + c);
  });
}

// body.operator()<T, kVectors>() for rows like those of x.
template <class Body>
void dispatch(const ConstView& x, const Body& body) {
  dispatch_f32_bf16(x.dtype, [&]<class T>() {
    constexpr int kStep = 8 / kWide<T>;  // from eight values a lane on
    switch ((x.size(1) - 1) / (8 * kWarp)) {
      case 0: return body.template operator()<T, kStep>();
      case 1: return body.template operator()<T, 2 * kStep>();
      case 2: return body.template operator()<T, 3 * kStep>();
      default: return body.template operator()<T, kMaxValues / kWide<T>>();
    }
  });
}

}  // namespace

bool fits_registers(std::initializer_list<ConstView> matrices, std::initializer_list<ConstView> factors) {
  const auto in_quads = [](const ConstView& f) { return f.dtype == DType::f32 && aligned_for(f.as<float>(), kQuad); };
  return std::ranges::all_of(factors, in_quads) && std::ranges::all_of(matrices, [](const ConstView& m) {
    if (!m) return true;
    return m.dtype != DType::f64 && m.size(1) <= kMaxValues * kWarp && rows_in_vectors(m);
  });
}

void forward_in_registers(const Exec& exec, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                          View sum, View y, View mean, View rstd) {
  const Dim rows = x.size(0);
  const int columns = static_cast<int>(x.size(1));
  dispatch(x, [&]<class T, int kVectors>() {
    // Warps go through several rows, for which they have weight and bias.
    const unsigned blocks = blocks_for(rows, kWarps, resident_blocks(exec, forward_rows<T, kVectors>, kThreads));
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
  dispatch(x, [&]<class T, int kVectors>() {
    constexpr std::size_t kMemory = 3 * sizeof(float) * kRow<T, kVectors>;
    backward_rows<T, kVectors><<<blocks, kBackwardWarps<T, kVectors> * kWarp, kMemory, queue(exec)>>>(
        rows, columns, rows_of<const T>(dy), rows_of<const T>(x), weight.as<float>(), mean.as<float>(), rstd.as<float>(),
        rows_of<const T>(add), rows_of<T>(dx), partial.as<float>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::layer_norm
