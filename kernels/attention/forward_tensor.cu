// FlashAttention-2 (Dao 2023), forward: a warp has 16 kM queries. Keys and values come in tiles of 64, one tile ahead;
// scores stay in registers from the first product to the second.
#include "kernels/attention/cuda.h"
#include "kernels/attention/tiles.cuh"

namespace ashlar::kernels::attention {
namespace {

constexpr int kKeys = 64;  // of a tile
constexpr int kScores = kKeys / kMmaN;

struct Call {
  Heads q, k, v, o;
  float* lse;
  int length, key_count;
  float scale2;  // above 0; times log2(e): the softmax is computed in base 2
  bool causal;
  unsigned heads;  // of a batch
  unsigned tiles = 0;  // of a head's queries; set by the launch, which knows their size
};

// What a warp knows of its queries after some of the keys.
template <int D, int kM>
struct Queries {
  FragmentA own[kM][D / kMmaK];
  FragmentC sums[kM][D / kMmaN];  // of p v, not yet divided
  float max[kM][2], sum[kM][2];   // of the lane's rows g and g + 8; max of scale s
};

// s = q kᵀ, for `used` fragments of keys.
template <int D, int kM, class Used>
__device__ void score(const Queries<D, kM>& queries, const Tile<D>& keys, Used used, int lane,
                      FragmentC (&s)[kM][kScores]) {
#pragma unroll
  for (int n = 0; n < kScores; ++n) {
    if (n >= used) break;
#pragma unroll
    for (int step = 0; step < D / kMmaK; step += 2) {
      const FragmentB b = keys.right_of_rows(n * kMmaN, step * kMmaK, lane);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma(queries.own[m][step], b, 0, s[m][n]);
        mma(queries.own[m][step + 1], b, 1, s[m][n]);
      }
    }
  }
}

// p = exp(scale s - max), in place, for the rows of half `half` of fragments m; what was summed with an older maximum shrinks.
template <int D, int kM>
__device__ void exponentiate(Queries<D, kM>& queries, int m, int half, float scale2, FragmentC (&s)[kScores]) {
  float tile_max = -INFINITY;
#pragma unroll
  for (int n = 0; n < kScores; ++n) tile_max = fmaxf(tile_max, fmaxf(s[n].r[2 * half], s[n].r[2 * half + 1]));
  // Every row sees key 0, so the maximum is finite after the first tile.
  float &max = queries.max[m][half], &sum = queries.sum[m][half];
  const float next = fmaxf(max, row_max(tile_max) * scale2), factor = ptx::exp2_approximate(max - next);
  max = next;
  sum *= factor;
#pragma unroll
  for (int n = 0; n < kScores; ++n) {
#pragma unroll
    for (int i = 2 * half; i < 2 * half + 2; ++i) {
      s[n].r[i] = ptx::exp2_approximate(s[n].r[i] * scale2 - next);
      sum += s[n].r[i];
    }
  }
#pragma unroll
  for (int n = 0; n < D / kMmaN; ++n) {
    queries.sums[m][n].r[2 * half] *= factor;
    queries.sums[m][n].r[2 * half + 1] *= factor;
  }
}

// sums += p v
template <int D, int kM, class Used>
__device__ void add_values(const FragmentC (&p)[kM][kScores], const Tile<D>& values, Used used, int lane,
                           Queries<D, kM>& queries) {
#pragma unroll
  for (int step = 0; step < kKeys / kMmaK; ++step) {
    if (2 * step >= used) break;
    FragmentA left[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) left[m] = as_left(p[m], step);
#pragma unroll
    for (int n = 0; n < D / kMmaN; n += 2) {
      const FragmentB b = values.right(step * kMmaK, n * kMmaN, lane);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma(left[m], b, 0, queries.sums[m][n]);
        mma(left[m], b, 1, queries.sums[m][n + 1]);
      }
    }
  }
}

template <int D, int kM>
__global__ void __launch_bounds__(kTileThreads) forward_tiles(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  constexpr int kWarpRows = kM * kMmaM, kRows = kWarps * kWarpRows;
  auto* const begin_of_tiles = reinterpret_cast<Bf16*>(memory);
  const Tile<D> all_queries{begin_of_tiles};
  const auto tile = [&](int number) { return Tile<D>{begin_of_tiles + (kRows + number * kKeys) * Tile<D>::kLd}; };
  const int lane = static_cast<int>(threadIdx.x) % device::kWarp, warp = static_cast<int>(threadIdx.x) / device::kWarp;
  const Place place = place_of_block(call.tiles, call.heads);
  // Causal: the late queries, which see most keys, first.
  const int first = (static_cast<int>(call.tiles) - 1 - place.tile) * kRows, row = first + warp * kWarpRows;
  const int earlier = call.key_count - call.length;  // positions before that of the first query
  const int end = call.causal ? min(call.key_count, earlier + first + kRows) : call.key_count;
  loads_of<D>(call.q, place, first, call.length).template load<kRows>(all_queries);
  auto keys = loads_of<D>(call.k, place, 0, call.key_count), values = loads_of<D>(call.v, place, 0, call.key_count);
  const auto load_keys = [&](int begin, int stage) {
    if (begin < end) {
      keys.template load<kKeys>(tile(2 * stage));
      values.template load<kKeys>(tile(2 * stage + 1));
      keys.pass_rows(kKeys), values.pass_rows(kKeys);
    }
    ptx::commit_copies();
  };
  load_keys(0, 0);

  Queries<D, kM> queries;
  for (int m = 0; m < kM; ++m) {
    for (int half = 0; half < 2; ++half) queries.max[m][half] = -INFINITY, queries.sum[m][half] = 0;
  }
  int stage = 0;
  for (int begin = 0; begin < end; begin += kKeys, stage = 1 - stage) {
    ptx::wait_for_copies<0>();  // this tile has arrived
    __syncthreads();            // for all, and all have done with the tile before it
    load_keys(begin + kKeys, 1 - stage);
    if (begin == 0) {
      for (int m = 0; m < kM; ++m) {
        for (int step = 0; step < D / kMmaK; ++step) {
          queries.own[m][step] = all_queries.left(warp * kWarpRows + m * kMmaM, step * kMmaK, lane);
        }
      }
    }
    if (row >= call.length || (call.causal && begin > earlier + row + kWarpRows - 1)) continue;  // sees none of these keys
    FragmentC s[kM][kScores];
    for_used_fragments<kKeys>(begin, call.key_count, [&](auto used) {
      score(queries, tile(2 * stage), used, lane, s);
    });
    if (begin + kKeys > call.key_count || (call.causal && begin + kKeys - 1 > earlier + row)) {
      for (int m = 0; m < kM; ++m) {
        for (int i = 0; i < 4; ++i) {
          // Keys of this tile that the query sees.
          const int position = earlier + row + m * kMmaM + c_row(lane, i);
          const int seen = (call.causal ? min(call.key_count, position + 1) : call.key_count) - begin;
#pragma unroll
          for (int n = 0; n < kScores; ++n) {
            if (n * kMmaN + c_column(lane, i) >= seen) s[m][n].r[i] = -INFINITY;
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      for (int half = 0; half < 2; ++half) exponentiate(queries, m, half, call.scale2, s[m]);
    }
    for_used_fragments<kKeys>(begin, call.key_count, [&](auto used) {
      add_values(s, tile(2 * stage + 1), used, lane, queries);
    });
  }

#pragma unroll
  for (int m = 0; m < kM; ++m) {
    float inverse[2];
    for (int half = 0; half < 2; ++half) {
      const float sum = row_sum(queries.sum[m][half]);
      inverse[half] = 1 / sum;
      const int position = row + m * kMmaM + c_row(lane, 2 * half);
      if (call.lse && lane % 4 == 0 && position < call.length) {
        call.lse[place.head * call.length + position] = (queries.max[m][half] + log2f(sum)) * kLn2;
      }
    }
    store_rows<D>(queries.sums[m], inverse, call.o.head(place), call.o.ld, row + m * kMmaM, call.length, lane);
  }
}

template <int D, int kM>
void launch(const Exec& exec, Call call, Dim heads) {
  constexpr int kRows = kWarps * kM * kMmaM;
  constexpr std::size_t kMemory = Tile<D>::bytes(kRows + 4 * kKeys);
  device::allow_shared_memory(exec, forward_tiles<D, kM>, kMemory);
  call.tiles = device::blocks_for(call.length, kRows);
  forward_tiles<D, kM><<<static_cast<unsigned>(heads) * call.tiles, kTileThreads, kMemory, device::queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

// Two fragments of queries a warp, where there are enough, halve the reads of keys and values from shared memory.
template <int D>
void launch(const Exec& exec, const Call& call, Dim heads) {
  if (call.length <= kWarps * kMmaM) launch<D, 1>(exec, call, heads);
  else launch<D, 2>(exec, call, heads);
}

}  // namespace

void forward_tensor_cores(const Exec& exec, const ForwardCall& c) {
  const Call call{heads_of(c.q), heads_of(c.k), heads_of(c.v), heads_of(c.o), c.lse.as<float>(),
                  static_cast<int>(c.q.size(2)), static_cast<int>(c.k.size(2)), static_cast<float>(c.scale) * kLog2E, c.causal,
                  static_cast<unsigned>(c.q.size(1))};
  const Dim heads = c.q.size(0) * c.q.size(1);
  if (c.q.size(3) == 32) launch<32>(exec, call, heads);
  else if (c.q.size(3) == 64) launch<64>(exec, call, heads);
  else launch<128, 1>(exec, call, heads);  // whose registers hold no more
}

}  // namespace ashlar::kernels::attention
