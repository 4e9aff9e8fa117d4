// The right product of BLAST with the coupling in its epilogue, on tensor cores: A_j = X_j V_j for all blocks j stays in
// registers, C_i = Σ_j s_ij * A_j is what is written. So A crosses device memory only where it is kept for the gradient of s,
// and C once on the way out and once into each product. The backward uses it with dy, U and the transposed coupling.
//
// A block of the grid has 128 rows and kRank columns of the rank. X and the factor come in steps of 64 features, two steps
// ahead, s for a few outputs at a time, one time ahead. A finished A_j waits for the others in bf16, as which it would lie in
// memory, and goes there, if it is kept, under the products of the next.
#include "kernels/blast/fused_loads.cuh"
#include "kernels/blocks/blocks.h"
#include "kernels/vectors.h"

namespace ashlar::kernels::blast {
namespace {

using namespace device;
using namespace tensor;

constexpr int kM = kRows / kWarpRows / kMmaM;  // fragments of rows of a warp
constexpr int kOutputsAtOnce = 3;              // of the coupling, for which a value of A is unpacked once

// A fragment of results in bf16: its upper eight rows and its lower eight.
struct Packed {
  unsigned half[2];

  Packed() = default;
  __device__ explicit Packed(const float (&value)[4]) : half{pack(value[0], value[1]), pack(value[2], value[3])} {}
};

// Where the fragments of a warp go in (R, blocks, r): `at` is the lane's place in the first pair of fragments of block 0, for
// which `rows` and `columns` are left.
struct Target {
  Bf16* at;
  Dim row_step;
  int block_step, rows, columns, lane;

  // The warp's place at (row, column).
  __device__ Target(Bf16* to, Dim step, const Call& call, Dim row, int column, int own_lane)
      : at(to + (row + sector_row(own_lane, 0)) * step + column + sector_column(own_lane)),
        row_step(step),
        block_step(call.rank),
        rows(static_cast<int>(min(call.rows - row, Dim{kRows})) - sector_row(own_lane, 0)),
        columns(call.rank - column - sector_column(own_lane)),
        lane(own_lane) {}
  // Fragments side by side, the left one at (row, column).
  __device__ void store(const Packed& left, const Packed& right, int block, int row, int column) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = row + 8 * h;
      store_sectors(left.half[h], right.half[h], lane, at + r * row_step + block * block_step + column, row_step, rows - r,
                    column < columns);
    }
  }
};

// Where a warp and its lane are in the tile of the block.
struct Place {
  int row, column, lane;

  __device__ explicit Place(int rank)
      : row(static_cast<int>(threadIdx.x) / kWarp / kWarpColumns * (kRows / kWarpRows)),
        column(static_cast<int>(threadIdx.x) / kWarp % kWarpColumns * (rank / kWarpColumns)),
        lane(static_cast<int>(threadIdx.x) % kWarp) {}
};

// Values of s for kOutputsAtOnce outputs: (kOutputsAtOnce, kBlocks, kRank).
template <int kBlocks, int kRank>
constexpr int kCoupling = kOutputsAtOnce * kBlocks * kRank;

// Brings them for the outputs from `first` on, zeros where there is none: a group of copies.
template <int kBlocks, int kRank>
__device__ void load_coupling(const Call& call, int first, int column, float* s) {
  for (int at = static_cast<int>(threadIdx.x); at < kCoupling<kBlocks, kRank>; at += kBlockThreads) {
    const int k = column + at % kRank, j = at / kRank % kBlocks, i = first + at / kRank / kBlocks;
    const bool there = k < call.rank && j < call.blocks && i < call.steps.outputs;
    ptx::copy_async(s + at, call.s + i * call.steps.s_out + j * call.steps.s_in + k, there);
  }
  ptx::commit_copies();
}

// c_i = Σ_j s_ij * a_j for some outputs and the warp's fragments n of the columns.
template <int kRank, int kBlocks, int kN>
__device__ void couple(const float* s, const Place& place, int blocks, int n, Packed (&a)[kBlocks][kM][kN],
                       Packed (&c)[kOutputsAtOnce][kM]) {
  FragmentC sum[kOutputsAtOnce][kM];
  const int k = place.column + n * kMmaN + c_column(place.lane, 0);
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    if (j >= blocks) break;
    float2 value[kM][2];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      for (int h = 0; h < 2; ++h) {
        // Unpacked ahead of time for all outputs, the values would need twice the registers.
        ptx::hold_back(a[j][m][n].half[h]);
        value[m][h] = unpack(a[j][m][n].half[h]);
      }
    }
#pragma unroll
    for (int i = 0; i < kOutputsAtOnce; ++i) {
      const float2 factor = *reinterpret_cast<const float2*>(s + (i * kBlocks + j) * kRank + k);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        for (int h = 0; h < 2; ++h) {
          sum[i][m].r[2 * h] += factor.x * value[m][h].x;
          sum[i][m].r[2 * h + 1] += factor.y * value[m][h].y;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOutputsAtOnce; ++i) {
#pragma unroll
    for (int m = 0; m < kM; ++m) c[i][m] = Packed(sum[i][m].r);
  }
}

template <int kBlocks, int kRank>
__global__ void __launch_bounds__(kBlockThreads) coupled_products(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  constexpr int kN = kRank / kWarpColumns / kMmaN;
  const Place place(kRank);
  // Neighbouring blocks have the same rows, whose x they find in the cache.
  const unsigned tiles = (call.rank + kRank - 1) / kRank;
  const Dim row = Dim{blockIdx.x / tiles} * kRows;
  const int column = static_cast<int>(blockIdx.x % tiles) * kRank;

  float* const couplings = reinterpret_cast<float*>(memory + kStages * Stage<kRank>::kBytes);
  const auto coupling = [&](int first) {  // in two places in turn
    return couplings + first / kOutputsAtOnce % 2 * kCoupling<kBlocks, kRank>;
  };
  load_coupling<kBlocks, kRank>(call, 0, column, coupling(0));

  Packed a[kBlocks][kM][kN];
  Loads<kRank> loads(call, row, column, memory);
  for (int step = 0; step < kStages - 1; ++step) loads.next();
  const int steps = (call.length + kDepth - 1) / kDepth;
  int stage = 0;
  const Target to_a(call.a, call.a_row, call, row + place.row, column + place.column, place.lane);
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    if (j >= call.blocks) break;
    FragmentC sum[kM][kN];
    for (int step = 0; step < steps; ++step) {
      ptx::wait_for_copies<kStages - 2>();  // this step has arrived
      __syncthreads();                      // for all, and all have done with what is overwritten next
      loads.next();
      Stage<kRank>(memory + stage * Stage<kRank>::kBytes).add_products(place.row, place.column, place.lane, sum);
      stage = stage + 1 < kStages ? stage + 1 : 0;
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
#pragma unroll
        for (int side = 0; side < 2; ++side) a[j][m][n + side] = Packed(sum[m][n + side].r);
        if (call.a) to_a.store(a[j][m][n], a[j][m][n + 1], j, m * kMmaM, n * kMmaN);
      }
    }
  }

  const int outputs = static_cast<int>(call.steps.outputs);
  const Target to_c(call.c, call.c_row, call, row + place.row, column + place.column, place.lane);
  for (int first = 0; first < outputs; first += kOutputsAtOnce) {
    ptx::wait_for_copies<0>();
    // All see these values of s, and have done with those that the next ones replace.
    __syncthreads();
    const int next = first + kOutputsAtOnce;
    if (next < outputs) load_coupling<kBlocks, kRank>(call, next, column, coupling(next));
    const float* const s = coupling(first);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      Packed c[2][kOutputsAtOnce][kM];
#pragma unroll
      for (int side = 0; side < 2; ++side) couple<kRank>(s, place, call.blocks, n + side, a, c[side]);
#pragma unroll
      for (int i = 0; i < kOutputsAtOnce; ++i) {
        if (first + i >= outputs) break;
#pragma unroll
        for (int m = 0; m < kM; ++m) to_c.store(c[0][i][m], c[1][i][m], first + i, m * kMmaM, n * kMmaN);
      }
    }
  }
}

// A kernel, for so many blocks and columns of the rank as the registers hold values of.
struct Choice {
  void (*kernel)(Call);
  int blocks, columns;
  std::size_t memory;
};
template <int kBlocks, int kRank>
constexpr Choice choice() {
  constexpr std::size_t kMemory = kStages * Stage<kRank>::kBytes + 2 * sizeof(float) * kCoupling<kBlocks, kRank>;
  return {&coupled_products<kBlocks, kRank>, kBlocks, kRank, kMemory};
}
constexpr Choice kChoices[] = {choice<16, 32>(), choice<8, 64>(), choice<6, 96>(), choice<4, 128>()};

// Of the kernels with enough blocks, and no more memory than there is, the one that reads least: x once for each of its
// tiles of columns, the factor once for its rows.
Choice best_choice(const Exec& exec, Dim blocks, Dim rank) {
  const auto limit = static_cast<std::size_t>(attribute(exec, cudaDevAttrMaxSharedMemoryPerBlockOptin));
  const auto reads = [&](const Choice& c) { return ceil_div(rank, c.columns) * (kRows + c.columns); };
  Choice best = kChoices[0];
  for (const Choice& c : kChoices) {
    if (blocks <= c.blocks && c.memory <= limit && reads(c) < reads(best)) best = c;
  }
  return best;
}

bool pays(const Exec& exec, const ConstView& x, const ConstView& factor, Dim outputs) {
  const Dim blocks = factor.size(0), rank = factor.size(2), columns = best_choice(exec, blocks, rank).columns;
  const double rate = mma_rate(capability_major(exec));
  return fusing_pays({x.size(1), blocks, outputs, rank}, columns, rate);
}

}  // namespace

bool fuses(const Exec& exec, const ConstView& x, const ConstView& factor, Dim outputs) {
  return x.dtype == DType::bf16 && factor.size(0) <= 16 && factor.size(1) % 8 == 0 && factor.size(2) % 8 == 0 &&
         rows_in_vectors(x) && use_fused(pays(exec, x, factor, outputs));
}

void coupled_product(const Exec& exec, const ConstView& x, const ConstView& factor, const ConstView& s,
                     const CouplingSteps& steps, const View& a, const View& c) {
  const Operand narrow(exec, factor, DType::bf16);
  const auto size = [](const ConstView& v, int d) { return static_cast<int>(v.size(d)); };
  const Call call{values(x), values(narrow.view()), x.size(0), x.step(0), size(x, 1), size(factor, 0), size(factor, 1),
                  size(factor, 2), s.as<float>(), steps, values(a), values(c), a.step(0), c.step(0)};
  const Choice best = best_choice(exec, call.blocks, call.rank);
  allow_shared_memory(exec, best.kernel, best.memory);
  const Dim tiles = ceil_div(call.rows, kRows) * ceil_div(call.rank, best.columns);
  const auto kernel = best.kernel;
  kernel<<<static_cast<unsigned>(tiles), kBlockThreads, best.memory, queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::blast
