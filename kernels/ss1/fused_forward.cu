// y = sketch(x) zᵀ + bias on tensor cores. A block first forms the sketches of its 128 rows in shared memory, all G B
// columns of them, and then multiplies them by one tile of weights after the other: x is read once for all outputs of the
// block, and u, a c-th of x, is written once for the backward or not at all.
#include "kernels/ss1/places.cuh"
#include "kernels/ss1/tiles.cuh"
#include "kernels/vectors.h"

namespace ashlar::kernels::ss1 {
namespace {

struct Call {
  Sizes s;
  Table table;
  const bfloat16* x;
  Dim ld_x;
  const Bf16* z;
  Dim width;          // of u and z
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

__device__ void form_sketches(const Call& call, Dim row, const Sketches& sketches) {
  const Sizes& s = call.s;
  const int width = static_cast<int>(s.width()), vectors = padded_width(s) / kPlaces;
  constexpr int kApart = kRows / kRowsAtOnce;  // of the rows of a thread
  for (int item = static_cast<int>(threadIdx.x); item < kApart * vectors; item += kBlockThreads) {
    const int first = item / vectors, column = item % vectors * kPlaces;
    const bool inside = column < width;
    Sums sums;
    if (inside) {
      add_sketches(s, call.table, {call.x, call.ld_x, s.rows, s.features, row + first, kApart}, place_at(s, column), sums);
    }
#pragma unroll
    for (int q = 0; q < kRowsAtOnce; ++q) {
      const Places result = sums.rounded(q);
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
  const int outputs = static_cast<int>(call.outputs);
  const Dim row = Dim{blockIdx.x} * kRows + own.row + sector_row(own.lane, 0);
  const int rows = static_cast<int>(min(call.s.rows - row, Dim{kRows}));
#pragma unroll
  for (int n = 0; n < kWarpColumns / kMmaN; n += 2) {
    const int first = column + own.column + n * kMmaN, to = first + sector_column(own.lane);
    float bias[2][2] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int c = first + i / 2 * kMmaN + c_column(own.lane, i % 2);
      if (call.bias && c < outputs) bias[i / 2][i % 2] = call.bias[c];
    }
#pragma unroll
    for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned value[2];
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          float* const sum = own.sum[m][n + side].r + 2 * half;
          value[side] = pack(sum[0] + bias[side][0], sum[1] + bias[side][1]);
          sum[0] = sum[1] = 0;
        }
        const int r = m * kMmaM + 8 * half;
        store_sectors(value[0], value[1], own.lane, call.y + (row + r) * call.ld_y + to, call.ld_y, rows - r, to < outputs);
      }
    }
  }
}

// Blocks (row tiles, parts of the column tiles).
__global__ void __launch_bounds__(kBlockThreads, 2) sketched_product(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int width = padded_width(call.s), steps = width / kDepth;
  const Sketches sketches{reinterpret_cast<Bf16*>(memory), width + 8};
  const auto stage = [&](int step) {
    return Tile<kDepth>{reinterpret_cast<Bf16*>(memory + Sketches::bytes(call.s) +
                                                static_cast<std::size_t>(step % kStages) * Tile<kDepth>::bytes(kColumns))};
  };
  const int column = static_cast<int>(blockIdx.y) * call.tiles * kColumns, outputs = static_cast<int>(call.outputs);
  const int end = min(outputs, column + call.tiles * kColumns), total = (end - column + kColumns - 1) / kColumns * steps;
  TileLoads<kDepth, kBlockThreads> weights(call.z + column * call.width, call.width, outputs - column,
                                           static_cast<int>(call.width));
  int depth_ahead = 0;
  const auto load = [&](int step) {
    if (step < total) {
      weights.load<kColumns>(stage(step));
      depth_ahead += kDepth;
      weights.pass_columns(kDepth);
      if (depth_ahead == width) weights.pass_columns(-width), weights.pass_rows(kColumns), depth_ahead = 0;
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
      const Tile<kDepth> right_rows = stage(step);
      FragmentA left[kWarpRows / kMmaM][2];
#pragma unroll
      for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
        for (int k = 0; k < 2; ++k) left[m][k] = sketches.left(own.row + m * kMmaM, depth + k * kMmaK, own.lane);
      }
#pragma unroll
      for (int n = 0; n < kWarpColumns / kMmaN; ++n) {
        const FragmentB right = right_rows.right_of_rows(own.column + n * kMmaN, 0, own.lane);
#pragma unroll
        for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
          for (int k = 0; k < 2; ++k) mma(left[m][k], right, k, own.sum[m][n]);
        }
      }
    }
    store_results(call, output, own);
  }
}

}  // namespace

bool in_places(const Sizes& sizes, std::initializer_list<ConstView> moved) {
  return sizes.block % kPlaces == 0 && std::ranges::all_of(moved, [](const ConstView& v) {
    return !v || (v.numel() > 0 && v.dtype == DType::bf16 && rows_in_vectors(v));
  });
}

bool holds_sketches(const Exec& exec, const Sizes& sizes) {
  return memory_of(sizes) <= static_cast<std::size_t>(attribute(exec, cudaDevAttrMaxSharedMemoryPerBlockOptin));
}

void fused_forward(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& x, const ConstView& z,
                   const ConstView& bias, const View& u, const View& y) {
  const Operand narrow(exec, z, DType::bf16);
  const Dim column_tiles = ceil_div(z.size(0), kColumns);
  const Dim tiles =
      ceil_div(column_tiles, column_parts(sizes, z.size(0), attribute(exec, cudaDevAttrMultiProcessorCount)));
  const Call call{sizes, table, x.as<bfloat16>(), x.step(0), values(narrow.view()), sizes.width(), bias.as<float>(),
                  u.as<bfloat16>(),
                  values(y), y.step(0), z.size(0), static_cast<int>(tiles)};
  const std::size_t memory = memory_of(sizes);
  allow_shared_memory(exec, sketched_product, memory);
  const dim3 grid(static_cast<unsigned>(ceil_div(sizes.rows, kRows)), static_cast<unsigned>(ceil_div(column_tiles, tiles)));
  sketched_product<<<grid, kBlockThreads, memory, queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::ss1
