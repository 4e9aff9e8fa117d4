// The right product of BLAST with the coupling in its epilogue, on tensor cores: A_j = X_j V_j for all blocks j stays in
// registers, C_i = Σ_j s_ij * A_j is what is written. So A never crosses device memory, and C crosses it once on the way
// out and once into the left product. The backward uses it with dy, U and the transposed coupling.
//
// A block has 64 rows and kRank columns of the rank; X and the factor come in steps of 64 features, one step ahead.
#include "kernels/blast/cuda.h"
#include "kernels/device.cuh"
#include "kernels/mma.cuh"

namespace ashlar::kernels::blast {
namespace {

using namespace device;
using namespace tensor;

constexpr int kRows = 64, kDepth = 64, kBlockThreads = kRows / kMmaM * kWarp;

struct Call {
  const Bf16 *x, *factor;  // (R, n), (blocks, length, r)
  Dim rows, features, ld, blocks, length, rank;
  const float* s;
  CouplingSteps steps;
  Bf16 *a, *c;  // (R, blocks, r) or null; (R, outputs, r)
};

template <int kRank>
struct Stage {
  Tile<kDepth> x;       // (kRows, kDepth)
  Tile<kRank> factor;   // (kDepth, kRank)
  static constexpr std::size_t kBytes = Tile<kDepth>::bytes(kRows) + Tile<kRank>::bytes(kDepth);

  __device__ explicit Stage(unsigned char* memory)
      : x{reinterpret_cast<Bf16*>(memory)}, factor{reinterpret_cast<Bf16*>(memory + Tile<kDepth>::bytes(kRows))} {}

  // Features [first, first + kDepth) of block j.
  __device__ void load(const Call& call, Dim row, Dim column, Dim j, Dim first) const {
    const Dim begin = j * call.length, end = min(call.length, call.features - begin);
    constexpr int kVectors = kDepth / 8, kFactorVectors = kRank / 8;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += kBlockThreads) {
      const int r = i / kVectors, f = i % kVectors * 8;
      const bool there = row + r < call.rows && first + f < end;
      const Bf16* const from = call.x + (row + r) * call.ld + begin + first + f;
      copy_async(x.data + r * Tile<kDepth>::kLd + f, there ? from : call.x, there);
    }
    for (int i = static_cast<int>(threadIdx.x); i < kDepth * kFactorVectors; i += kBlockThreads) {
      const int f = i / kFactorVectors, k = i % kFactorVectors * 8;
      const bool there = first + f < end && column + k < call.rank;
      const Bf16* const from = call.factor + (begin + first + f) * call.rank + column + k;
      copy_async(factor.data + f * Tile<kRank>::kLd + k, there ? from : call.factor, there);
    }
  }
};

// Writes one fragment of (R, blocks, r) at (row, block, column).
__device__ void store_fragment(const float (&value)[4], Bf16* to, Dim rows, Dim blocks, Dim rank, Dim row, Dim block,
                               Dim column, int lane) {
  const Dim k = column + c_column(lane, 0);
  if (k >= rank) return;
  for (int half = 0; half < 2; ++half) {
    const Dim r = row + c_row(lane, 2 * half);
    if (r >= rows) continue;
    *reinterpret_cast<__nv_bfloat162*>(to + (r * blocks + block) * rank + k) =
        __floats2bfloat162_rn(value[2 * half], value[2 * half + 1]);
  }
}

template <int kBlocks, int kRank>
__global__ void __launch_bounds__(kBlockThreads) coupled_products(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const Dim row = Dim{blockIdx.x} * kRows, column = Dim{blockIdx.y} * kRank;
  const Dim steps = (call.length + kDepth - 1) / kDepth, total = steps * call.blocks;
  const auto load = [&](Dim step) {
    if (step < total) {
      Stage<kRank>(memory + step % 2 * Stage<kRank>::kBytes).load(call, row, column, step / steps, step % steps * kDepth);
    }
    commit_copies();
  };
  FragmentC a[kBlocks][kRank / kMmaN];
  load(0);
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    if (j >= call.blocks) break;
    for (Dim part = 0; part < steps; ++part) {
      const Dim step = j * steps + part;
      load(step + 1);
      wait_for_copies<1>();
      __syncthreads();
      const Stage<kRank> stage(memory + step % 2 * Stage<kRank>::kBytes);
#pragma unroll
      for (int k = 0; k < kDepth; k += kMmaK) {
        const FragmentA left = stage.x.left(warp * kMmaM, k, lane);
#pragma unroll
        for (int n = 0; n < kRank / kMmaN; n += 2) {
          const FragmentB right = stage.factor.right(k, n * kMmaN, lane);
          multiply(left, right, 0, a[j][n]);
          multiply(left, right, 1, a[j][n + 1]);
        }
      }
      __syncthreads();
    }
  }
  const Dim own = row + warp * kMmaM;
  if (call.a) {
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
      if (j >= call.blocks) break;
#pragma unroll
      for (int n = 0; n < kRank / kMmaN; ++n) {
        store_fragment(a[j][n].r, call.a, call.rows, call.blocks, call.rank, own, j, column + n * kMmaN, lane);
      }
    }
  }
  for (Dim i = 0; i < call.steps.outputs; ++i) {
#pragma unroll
    for (int n = 0; n < kRank / kMmaN; ++n) {
      const Dim k = column + n * kMmaN + c_column(lane, 0);
      float sum[4] = {0, 0, 0, 0};
#pragma unroll
      for (int j = 0; j < kBlocks; ++j) {
        if (j >= call.blocks || k >= call.rank) break;
        const float2 s = *reinterpret_cast<const float2*>(call.s + i * call.steps.s_out + j * call.steps.s_in + k);
        for (int e = 0; e < 4; ++e) sum[e] += (e % 2 == 0 ? s.x : s.y) * a[j][n].r[e];
      }
      store_fragment(sum, call.c, call.rows, call.steps.outputs, call.rank, own, i, column + n * kMmaN, lane);
    }
  }
}

template <int kBlocks, int kRank>
void launch(const Exec& exec, const Call& call) {
  constexpr std::size_t kMemory = 2 * Stage<kRank>::kBytes;
  allow_shared_memory(coupled_products<kBlocks, kRank>, kMemory);
  const dim3 grid(blocks_for(call.rows, kRows), blocks_for(call.rank, kRank));
  coupled_products<kBlocks, kRank><<<grid, kBlockThreads, kMemory, queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

bool aligned(const ConstView& v) { return reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0; }

}  // namespace

bool can_fuse(const ConstView& x, const ConstView& factor) {
  return x.dtype == DType::bf16 && factor.size(0) <= 16 && factor.size(1) % 8 == 0 && factor.size(2) % 8 == 0 &&
         x.size(1) % 8 == 0 && x.step(0) % 8 == 0 && aligned(x);
}

void coupled_product(const Exec& exec, const ConstView& x, const ConstView& factor, const ConstView& s,
                     const CouplingSteps& steps, const View& a, const View& c) {
  // Master weights are rounded once for all blocks of the grid.
  const Array narrow = Array::empty(factor.shape, DType::bf16, exec.device);
  ashlar::cuda::copy(exec.device.index, factor, narrow);
  const auto values = [](const auto& v) { return static_cast<Bf16*>(const_cast<void*>(static_cast<const void*>(v.data))); };
  const Call call{values(x), values(ConstView(narrow)), x.size(0), x.size(1), x.step(0), factor.size(0), factor.size(1),
                  factor.size(2), s.as<float>(), steps, values(a), values(c)};
  // As many columns of the rank as leave 128 registers for the values of all blocks.
  if (call.blocks <= 4) launch<4, 64>(exec, call);
  else if (call.blocks <= 8) launch<8, 32>(exec, call);
  else launch<16, 16>(exec, call);
}

}  // namespace ashlar::kernels::blast
