// y = sketch(x) zᵀ + bias on tensor cores. A block first forms the sketches of its 128 rows in shared memory, all G B
// columns of them, and then multiplies them by one tile of weights after the other: x is read once for all outputs of the
// block, and u, a c-th of x, is written once for the backward or not at all.
//
// Forming: a thread sums eight places of four rows at a time, so that the table is looked up once for the four and their
// loads are under way together. Sums are in f32 in the order of i and rounded to bf16 once, as without fusion.
#include "kernels/ss1/tiles.cuh"

namespace ashlar::kernels::ss1 {
namespace {

constexpr int kRowsAtOnce = 4;

struct Call {
  Sizes s;
  Table table;
  const bfloat16* x;
  Dim ld_x;
  const Bf16* z;
  const float* bias;  // or null
  bfloat16* u;        // or null
  Bf16* y;
  Dim ld_y, outputs;
  int tiles;  // of columns, of a block
};

// Columns of u with the zeros that fill the last step.
constexpr int padded_width(const Sizes& s) { return static_cast<int>(round_up(s.width(), kDepth)); }

// Rows 16 bytes more apart than they are long: like Tile, of a length known at run time.
struct Sketches {
  Bf16* data;
  int ld;
  static constexpr std::size_t bytes(const Sizes& s) {
    return sizeof(Bf16) * static_cast<std::size_t>(kRows * (padded_width(s) + 8));
  }
  __device__ FragmentA left(int row, int column, int lane) const {
    FragmentA a;
    ptx::ldmatrix(data + (row + square_row(lane)) * ld + column + square_column(lane), a.r);
    return a;
  }
};

std::size_t memory_of(const Sizes& s) { return Sketches::bytes(s) + kStages * Tile<kDepth>::bytes(kColumns); }

// Eight places from p on of row `row` of x, from chunk i of their group.
__device__ Pack<bfloat16, kPlaces> chunk_values(const Call& call, Dim row, Place p, Dim i, Dim shift) {
  const Sizes& s = call.s;
  const bfloat16* const from = call.x + row * call.ld_x;
  Pack<bfloat16, kPlaces> values{};
  if (whole(shift)) {
    const Dim feature = feature_of(s, p.group, i, p.k, shift);
    if (feature < s.features) values = load<kPlaces>(from + feature);
  } else {
#pragma unroll
    for (int e = 0; e < kPlaces; ++e) {
      const Dim feature = feature_of(s, p.group, i, p.k + e, shift);
      if (feature < s.features) values.value[e] = from[feature];
    }
  }
  return values;
}

__device__ void form_sketches(const Call& call, Dim row, const Sketches& sketches) {
  const Sizes& s = call.s;
  const int width = static_cast<int>(s.width()), vectors = padded_width(s) / kPlaces;
  constexpr int kApart = kRows / kRowsAtOnce;  // of the rows of a thread
  for (int item = static_cast<int>(threadIdx.x); item < kApart * vectors; item += kBlockThreads) {
    const int first = item / vectors, column = item % vectors * kPlaces;
    const bool inside = column < width;
    const Place p = place_at(s, inside ? column : 0);
    float sum[kRowsAtOnce][kPlaces] = {};
    for (Dim i = 0; inside && i < s.reduction; ++i) {
      const Dim entry = p.group * s.reduction + i, shift = call.table.shift[entry];
      const auto sign = static_cast<float>(call.table.sign[entry]);
      Pack<bfloat16, kPlaces> values[kRowsAtOnce];
#pragma unroll
      for (int q = 0; q < kRowsAtOnce; ++q) {
        const Dim r = row + first + q * kApart;
        if (r < s.rows) values[q] = chunk_values(call, r, p, i, shift);
        else values[q] = {};
      }
#pragma unroll
      for (int q = 0; q < kRowsAtOnce; ++q) {
#pragma unroll
        for (int e = 0; e < kPlaces; ++e) sum[q][e] += sign * convert<float>(values[q].value[e]);
      }
    }
#pragma unroll
    for (int q = 0; q < kRowsAtOnce; ++q) {
      Pack<bfloat16, kPlaces> result;
#pragma unroll
      for (int e = 0; e < kPlaces; ++e) result.value[e] = convert<bfloat16>(sum[q][e]);
      const int r = first + q * kApart;
      store<kPlaces>(result, reinterpret_cast<bfloat16*>(sketches.data + r * sketches.ld + column));
      if (call.u && blockIdx.y == 0 && inside && row + r < s.rows) {
        store<kPlaces>(result, call.u + (row + r) * width + column);
      }
    }
  }
}

// Columns [column, column + kColumns) of the block's rows of y from the warps' results, and zeros in their place.
__device__ void store_results(const Call& call, int column, Warp& own) {
  const int first = own.column + column + c_column(own.lane, 0), outputs = static_cast<int>(call.outputs);
  const Dim row = Dim{blockIdx.x} * kRows + own.row + c_row(own.lane, 0);
  // By rows: the stores of a row follow each other.
#pragma unroll
  for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Dim r = row + m * kMmaM + c_row(0, 2 * half);
      Bf16* const to = call.y + r * call.ld_y;
#pragma unroll
      for (int n = 0; n < kWarpColumns / kMmaN; ++n) {
        const int c = first + n * kMmaN;
        float(&sum)[4] = own.sum[m][n].r;
        float &low = sum[2 * half], &high = sum[2 * half + 1];
        if (r < call.s.rows && c < outputs) {
          if (call.bias) {
            low += call.bias[c];
            high += call.bias[c + 1];
          }
          *reinterpret_cast<__nv_bfloat162*>(to + c) = __floats2bfloat162_rn(low, high);
        }
        low = high = 0;
      }
    }
  }
}

// Blocks (row tiles, parts of the column tiles).
__global__ void __launch_bounds__(kBlockThreads) sketched_product(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int width = padded_width(call.s), steps = width / kDepth;
  const Sketches sketches{reinterpret_cast<Bf16*>(memory), width + 8};
  const auto stage = [&](int step) {
    return Tile<kDepth>{reinterpret_cast<Bf16*>(memory + Sketches::bytes(call.s) +
                                                static_cast<std::size_t>(step % kStages) * Tile<kDepth>::bytes(kColumns))};
  };
  const int column = static_cast<int>(blockIdx.y) * call.tiles * kColumns, outputs = static_cast<int>(call.outputs);
  const int end = min(outputs, column + call.tiles * kColumns), total = (end - column + kColumns - 1) / kColumns * steps;
  const auto load = [&](int step) {
    if (step < total) {
      const int output = column + step / steps * kColumns, depth = step % steps * kDepth;
      const Dim ld = call.s.width();
      load_tile(stage(step), kColumns, call.z + output * ld + depth, ld, outputs - output, ld - depth);
    }
    ptx::commit_copies();
  };
  for (int step = 0; step < kStages - 1; ++step) load(step);
  form_sketches(call, Dim{blockIdx.x} * kRows, sketches);
  Warp own;
  int step = 0;
  for (int output = column; output < end; output += kColumns) {
    for (int depth = 0; depth < width; depth += kDepth, ++step) {
      ptx::wait_for_copies<kStages - 2>();
      // All see the step's weights, and none still reads those that the next copies replace.
      __syncthreads();
      load(step + kStages - 1);
      const Tile<kDepth> weights = stage(step);
      FragmentA left[kWarpRows / kMmaM][2];
#pragma unroll
      for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
        for (int k = 0; k < 2; ++k) left[m][k] = sketches.left(own.row + m * kMmaM, depth + k * kMmaK, own.lane);
      }
#pragma unroll
      for (int n = 0; n < kWarpColumns / kMmaN; ++n) {
        const FragmentB right = weights.right_of_rows(own.column + n * kMmaN, 0, own.lane);
#pragma unroll
        for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
          for (int k = 0; k < 2; ++k) multiply(left[m][k], right, k, own.sum[m][n]);
        }
      }
    }
    store_results(call, output, own);
  }
}

// Whether there are rows, in whole vectors of eight values.
bool in_vectors(const ConstView& v) {
  return v.numel() > 0 && v.size(-1) % 8 == 0 && v.step(0) % 8 == 0 && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

}  // namespace

bool can_fuse(const Sizes& sizes, std::initializer_list<ConstView> moved) {
  return sizes.sketches == 1 && sizes.block % kPlaces == 0 && std::ranges::all_of(moved, [](const ConstView& v) {
    return !v || (v.dtype == DType::bf16 && in_vectors(v));
  });
}

bool holds_sketches(const Exec& exec, const Sizes& sizes) {
  return memory_of(sizes) <= static_cast<std::size_t>(attribute(exec, cudaDevAttrMaxSharedMemoryPerBlockOptin));
}

void fused_forward(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& x, const ConstView& z,
                   const ConstView& bias, const View& u, const View& y) {
  const Array narrow = rounded(exec, z);
  const Dim row_tiles = ceil_div(sizes.rows, kRows), column_tiles = ceil_div(z.size(0), kColumns);
  const Dim tiles = ceil_div(
      column_tiles, column_parts(row_tiles, column_tiles, attribute(exec, cudaDevAttrMultiProcessorCount)));
  const Call call{sizes, table, x.as<bfloat16>(), x.step(0), values(narrow), bias.as<float>(), u.as<bfloat16>(),
                  static_cast<Bf16*>(y.data), y.step(0), z.size(0), static_cast<int>(tiles)};
  const std::size_t memory = memory_of(sizes);
  allow_shared_memory(sketched_product, memory);
  const dim3 grid(static_cast<unsigned>(row_tiles), static_cast<unsigned>(ceil_div(column_tiles, tiles)));
  sketched_product<<<grid, kBlockThreads, memory, queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::ss1
