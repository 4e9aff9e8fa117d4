// FlashAttention-2 (Dao 2023), backward, in two kernels that write without atomics: one owns queries and walks the keys (dq,
// and delta for the other), one owns keys and walks the queries (dk, dv). Both compute p and ds again, 7 products instead of
// 5: the price of the same bits every time.
//   p = exp(scale q kᵀ - lse)   ds = p (d_o vᵀ - delta)   dv = pᵀ d_o   dk = scale dsᵀ q   dq = scale ds k
#include "kernels/attention/backward_tiles.cuh"
#include "kernels/attention/cuda.h"

namespace ashlar::kernels::attention {
namespace {

// A block has 16 rows of results for each of its W warps.
constexpr int kStep = 32;  // rows of the tiles that are walked over, one tile ahead
constexpr int kFragments = kStep / kMmaN;
template <int D, int W>
constexpr int kBlocks = D <= 64 && W == 4 ? 3 : 2;  // that a multiprocessor's registers shall hold

struct Call {
  Heads d_o, q, k, v;
  const float* lse;
  float* delta;
  int length;
  unsigned heads, tiles;  // of a batch, of a head's rows; the latter set by the launch, which knows their size
  float scale;
  bool causal;
};

// Shared memory of both kernels: two tiles of the block's own, and two stages of two that are walked over, with two numbers
// for each of their rows.
template <int D, int W>
struct Memory {
  unsigned char* data;
  static constexpr int kRows = W * kMmaM;
  static constexpr std::size_t kTiles = Tile<D>::bytes(2 * kRows + 4 * kStep);
  static constexpr std::size_t kBytes = kTiles + sizeof(float) * 4 * kStep;

  __device__ Tile<D> own(int which) const { return {reinterpret_cast<Bf16*>(data + Tile<D>::bytes(which * kRows))}; }
  __device__ Tile<D> other(int stage, int which) const {
    return {reinterpret_cast<Bf16*>(data + Tile<D>::bytes(2 * kRows + (2 * stage + which) * kStep))};
  }
  __device__ float* numbers(int stage, int which) const {
    return reinterpret_cast<float*>(data + kTiles) + (2 * stage + which) * kStep;
  }
};

template <int D, int W>
__global__ void __launch_bounds__(W * device::kWarp, kBlocks<D, W>)
    key_gradients(const __grid_constant__ Call call, Heads dk, Heads dv) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int kThreads = W * device::kWarp, kRows = W * kMmaM;
  const Memory<D, W> memory{shared};
  const int thread = static_cast<int>(threadIdx.x), lane = thread % device::kWarp, warp = thread / device::kWarp;
  const Place place = place_of_block(call.tiles, call.heads);
  const int first = place.tile * kRows, row = first + warp * kMmaM, length = call.length;
  loads_of<D, kThreads>(call.k, place, first, length).template load<kRows>(memory.own(0));
  loads_of<D, kThreads>(call.v, place, first, length).template load<kRows>(memory.own(1));
  // Causal: the first query that sees any of these keys is number `first`.
  const int start = call.causal ? first : 0;
  auto all_queries = loads_of<D, kThreads>(call.q, place, start, length);
  auto all_gradients = loads_of<D, kThreads>(call.d_o, place, start, length);
  const auto load_queries = [&](int begin, int stage) {
    if (begin < length) {
      all_queries.template load<kStep>(memory.other(stage, 0));
      all_gradients.template load<kStep>(memory.other(stage, 1));
      all_queries.pass_rows(kStep), all_gradients.pass_rows(kStep);
      if (thread < 2 * kStep) {
        const int which = thread / kStep, at = thread % kStep;
        const float* const from = (which == 0 ? call.lse : call.delta) + place.head * length + begin + at;
        ptx::copy_async(memory.numbers(stage, which) + at, from, begin + at < length);
      }
    }
    ptx::commit_copies();
  };
  load_queries(start, 0);

  constexpr bool kHeld = D <= 64;
  OwnRows<D, kHeld> keys(memory.own(0), warp * kMmaM, lane), values(memory.own(1), warp * kMmaM, lane);
  FragmentC sum_k[D / kMmaN], sum_v[D / kMmaN];
  const float scale2 = call.scale * kLog2E;
  int stage = 0;
  for (int begin = start; begin < length; begin += kStep, stage = 1 - stage) {
    ptx::wait_for_copies<0>();  // this tile has arrived
    __syncthreads();            // for all, and all have done with the tile before it
    load_queries(begin + kStep, 1 - stage);
    if (begin == start) keys.hold(), values.hold();
    if (row >= length || (call.causal && row > begin + kStep - 1)) continue;  // none of these queries sees the warp's keys
    const Tile<D> queries = memory.other(stage, 0), gradients = memory.other(stage, 1);
    FragmentC p[kFragments], ds[kFragments];  // (16 keys, kStep queries)
    for_used_fragments<kStep>(begin, length, [&](auto used) {
      multiply_rows(keys, queries, 0, used, lane, p);
      multiply_rows(values, gradients, 0, used, lane, ds);
    });
    const bool masked = call.causal && row + kMmaM - 1 > begin;
    const int ahead = masked ? row - begin : 0;  // of the first key before the first query
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      const int column = n * kMmaN + c_column(lane, 0);
      const float2 lse = *reinterpret_cast<const float2*>(memory.numbers(stage, 0) + column);
      const float2 delta = *reinterpret_cast<const float2*>(memory.numbers(stage, 1) + column);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // A query beyond the end has zeros for q, d_o, lse and delta: it adds nothing.
        p[n].r[i] = ptx::exp2_approximate(p[n].r[i] * scale2 - (i % 2 == 0 ? lse.x : lse.y) * kLog2E);
        if (masked && ahead + c_row(lane, i) > column + i % 2) p[n].r[i] = 0;
        ds[n].r[i] = p[n].r[i] * (ds[n].r[i] - (i % 2 == 0 ? delta.x : delta.y));
      }
    }
    for_used_fragments<kStep>(begin, length, [&](auto used) {
      add_products<kStep / kMmaK>([&](int step) { return as_left(p, step); }, gradients, used, lane, sum_v);
      add_products<kStep / kMmaK>([&](int step) { return as_left(ds, step); }, queries, used, lane, sum_k);
    });
  }
  const float one[2] = {1, 1}, scale[2] = {call.scale, call.scale};
  store_rows<D>(sum_v, one, dv.head(place), dv.ld, row, length, lane);
  store_rows<D>(sum_k, scale, dk.head(place), dk.ld, row, length, lane);
}

template <int D, int W>
__global__ void __launch_bounds__(W * device::kWarp, kBlocks<D, W>)
    query_gradients(const __grid_constant__ Call call, const __grid_constant__ Heads o, Heads dq) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int kThreads = W * device::kWarp, kRows = W * kMmaM;
  const Memory<D, W> memory{shared};
  const int thread = static_cast<int>(threadIdx.x), lane = thread % device::kWarp, warp = thread / device::kWarp;
  const Place place = place_of_block(call.tiles, call.heads);
  // Causal: the late queries, which see most keys, first.
  const int first = (static_cast<int>(call.tiles) - 1 - place.tile) * kRows, row = first + warp * kMmaM;
  const int length = call.length, end = call.causal ? min(length, first + kRows) : length;
  loads_of<D, kThreads>(call.q, place, first, length).template load<kRows>(memory.own(0));
  loads_of<D, kThreads>(call.d_o, place, first, length).template load<kRows>(memory.own(1));
  auto all_keys = loads_of<D, kThreads>(call.k, place, 0, length), all_values = loads_of<D, kThreads>(call.v, place, 0, length);
  const auto load_keys = [&](int begin, int stage) {
    if (begin < end) {
      all_keys.template load<kStep>(memory.other(stage, 0));
      all_values.template load<kStep>(memory.other(stage, 1));
      all_keys.pass_rows(kStep), all_values.pass_rows(kStep);
    }
    ptx::commit_copies();
  };
  load_keys(0, 0);
  float lse2[2], delta[2];
  for (int half = 0; half < 2; ++half) {
    const int query = row + c_row(lane, 2 * half);
    // A query beyond the end has p = exp(-inf) = 0.
    lse2[half] = query < length ? call.lse[place.head * length + query] * kLog2E : INFINITY;
  }
  const RowSums<D, kRows, kThreads> row_sums(o, place, first, length);
  float* const deltas = memory.numbers(0, 0);
  static_assert(kRows <= 4 * kStep);
  __syncwarp();  // else the compiler moves the reads of o behind the wait
  ptx::wait_for_copies<0>();
  row_sums.write(memory.own(1), deltas);

  OwnRows<D, true> queries(memory.own(0), warp * kMmaM, lane), gradients(memory.own(1), warp * kMmaM, lane);
  FragmentC sums[D / kMmaN];
  const float scale2 = call.scale * kLog2E;
  int stage = 0;
  for (int begin = 0; begin < end; begin += kStep, stage = 1 - stage) {
    ptx::wait_for_copies<0>();  // this tile has arrived
    __syncthreads();            // for all, and all have done with the tile before it
    load_keys(begin + kStep, 1 - stage);
    if (begin == 0) {
      queries.hold(), gradients.hold();
      for (int half = 0; half < 2; ++half) {
        const int own = row - first + c_row(lane, 2 * half);
        delta[half] = deltas[own];
        if (lane % 4 == 0 && first + own < length) call.delta[place.head * length + first + own] = delta[half];
      }
    }
    if (row >= length || (call.causal && begin > row + kMmaM - 1)) continue;  // sees none of these keys
    const Tile<D> keys = memory.other(stage, 0), values = memory.other(stage, 1);
    FragmentC p[kFragments], ds[kFragments];  // (16 queries, kStep keys)
    for_used_fragments<kStep>(begin, length, [&](auto used) {
      multiply_rows(queries, keys, 0, used, lane, p);
      multiply_rows(gradients, values, 0, used, lane, ds);
    });
    const bool masked = begin + kStep > length || (call.causal && begin + kStep - 1 > row);
    for (int half = 0; half < 2; ++half) {
      // Keys of this tile that the query sees.
      const int query = row + c_row(lane, 2 * half);
      const int seen = masked ? (call.causal ? min(length, query + 1) : length) - begin : kStep;
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          float weight = ptx::exp2_approximate(p[n].r[i] * scale2 - lse2[half]);
          if (n * kMmaN + c_column(lane, i) >= seen) weight = 0;
          ds[n].r[i] = weight * (ds[n].r[i] - delta[half]);
        }
      }
    }
    for_used_fragments<kStep>(begin, length, [&](auto used) {
      add_products<kStep / kMmaK>([&](int step) { return as_left(ds, step); }, keys, used, lane, sums);
    });
  }
  const float scale[2] = {call.scale, call.scale};
  store_rows<D>(sums, scale, dq.head(place), dq.ld, row, length, lane);
}

template <int D, int W>
void launch_gradients(const Exec& exec, const BackwardCall& c, Call call) {
  call.tiles = device::blocks_for(call.length, W * kMmaM);
  constexpr std::size_t kMemory = Memory<D, W>::kBytes;
  device::allow_shared_memory(exec, key_gradients<D, W>, kMemory);
  device::allow_shared_memory(exec, query_gradients<D, W>, kMemory);
  const unsigned blocks = static_cast<unsigned>(c.q.size(0) * c.q.size(1)) * call.tiles;
  constexpr int kThreads = W * device::kWarp;
  query_gradients<D, W><<<blocks, kThreads, kMemory, device::queue(exec)>>>(call, heads_of(c.o), heads_of(c.dq));
  key_gradients<D, W><<<blocks, kThreads, kMemory, device::queue(exec)>>>(call, heads_of(c.dk), heads_of(c.dv));
  ASHLAR_CUDA_CHECK_LAUNCH();
}

// Warps that blocks of `warps` have for the rows of a head.
unsigned warps_of_head(Dim length, int warps) {
  return device::blocks_for(length, warps * kMmaM) * static_cast<unsigned>(warps);
}

template <int D>
void launch(const Exec& exec, const BackwardCall& c) {
  const Dim length = c.q.size(2);
  const Call call{heads_of(c.d_o), heads_of(c.q), heads_of(c.k), heads_of(c.v), c.lse.as<float>(), c.delta.as<float>(),
                  static_cast<int>(length), static_cast<unsigned>(c.q.size(1)), 0, static_cast<float>(c.scale), c.causal};
  // 150 rows fill the warps of two blocks of five, and of three blocks of four 10 of 12. Wider heads have no registers for
  // that.
  if constexpr (D <= 64) {
    if (warps_of_head(length, 5) < warps_of_head(length, 4)) return launch_gradients<D, 5>(exec, c, call);
  }
  launch_gradients<D, 4>(exec, c, call);
}

}  // namespace

void backward_tensor_cores(const Exec& exec, const BackwardCall& call) {
  if (call.q.size(3) == 32) launch<32>(exec, call);
  else if (call.q.size(3) == 64) launch<64>(exec, call);
  else launch<128>(exec, call);
}

}  // namespace ashlar::kernels::attention
