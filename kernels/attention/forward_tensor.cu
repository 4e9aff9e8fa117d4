// FlashAttention-2 (Dao 2023), forward: a block has 64 queries, a warp 16 of them. Keys and values come in tiles of 64;
// scores stay in registers from the first product to the second.
#include "kernels/attention/cuda.h"
#include "kernels/attention/tiles.cuh"

namespace ashlar::kernels::attention {
namespace {

constexpr int kKeys = 64;  // of a tile

template <int D>
__global__ void __launch_bounds__(kTileThreads)
    forward_tiles(Heads q, Heads k, Heads v, Heads o, float* lse, Dim length, Dim key_count, float scale2, bool causal) {
  extern __shared__ __align__(16) unsigned char memory[];
  const Tile<D> queries{reinterpret_cast<Bf16*>(memory)}, keys{queries.data + kOwnRows * Tile<D>::kLd},
      values{keys.data + kKeys * Tile<D>::kLd};
  const int lane = static_cast<int>(threadIdx.x) % device::kWarp, warp = static_cast<int>(threadIdx.x) / device::kWarp;
  const Dim head = blockIdx.y;
  // Causal: the late queries, which see most keys, first.
  const Dim first = Dim{gridDim.x - 1 - blockIdx.x} * kOwnRows;
  load_rows(q.head(head), q.ld, first, kOwnRows, length, queries);
  __syncthreads();
  FragmentA own[D / kMmaK];
  for (int step = 0; step < D / kMmaK; ++step) own[step] = queries.left(warp * kMmaM, step * kMmaK, lane);

  FragmentC sums[D / kMmaN];  // of p v, not yet divided
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of the lane's rows g and g + 8, in base 2
  const Dim row = first + warp * kMmaM;
  const Dim earlier = key_count - length;  // positions before that of the first query
  const Dim end = causal ? min(key_count, earlier + first + kOwnRows) : key_count;
  for (Dim begin = 0; begin < end; begin += kKeys) {
    __syncthreads();
    load_rows(k.head(head), k.ld, begin, kKeys, key_count, keys);
    load_rows(v.head(head), v.ld, begin, kKeys, key_count, values);
    __syncthreads();
    FragmentC s[kKeys / kMmaN];
#pragma unroll
    for (int n = 0; n < kKeys / kMmaN; ++n) {
#pragma unroll
      for (int step = 0; step < D / kMmaK; step += 2) {
        const FragmentB b = keys.right_of_rows(n * kMmaN, step * kMmaK, lane);
        multiply(own[step], b, 0, s[n]);
        multiply(own[step + 1], b, 1, s[n]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Dim position = row + c_row(lane, 2 * half);
      float tile_max = -INFINITY;
#pragma unroll
      for (int n = 0; n < kKeys / kMmaN; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const Dim key = begin + n * kMmaN + c_column(lane, i);
          const bool visible = key < key_count && (!causal || key <= earlier + position);
          s[n].r[i] = visible ? s[n].r[i] * scale2 : -INFINITY;
          tile_max = fmaxf(tile_max, s[n].r[i]);
        }
      }
      // Every row sees key 0, so the maximum is finite after the first tile.
      const float next = fmaxf(max[half], row_max(tile_max)), factor = exp2f(max[half] - next);
      max[half] = next;
      sum[half] *= factor;
#pragma unroll
      for (int n = 0; n < kKeys / kMmaN; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          s[n].r[i] = exp2f(s[n].r[i] - next);
          sum[half] += s[n].r[i];
        }
      }
#pragma unroll
      for (int n = 0; n < D / kMmaN; ++n) {
        sums[n].r[2 * half] *= factor;
        sums[n].r[2 * half + 1] *= factor;
      }
    }
#pragma unroll
    for (int step = 0; step < kKeys / kMmaK; ++step) {
      const FragmentA p = as_left(s, step);
#pragma unroll
      for (int n = 0; n < D / kMmaN; n += 2) {
        const FragmentB b = values.right(step * kMmaK, n * kMmaN, lane);
        multiply(p, b, 0, sums[n]);
        multiply(p, b, 1, sums[n + 1]);
      }
    }
  }
  float inverse[2];
  for (int half = 0; half < 2; ++half) {
    sum[half] = row_sum(sum[half]);
    inverse[half] = 1 / sum[half];
    const Dim position = row + c_row(lane, 2 * half);
    if (lse && lane % 4 == 0 && position < length) lse[head * length + position] = (max[half] + log2f(sum[half])) * kLn2;
  }
  store_rows<D>(sums, inverse, o.head(head), o.ld, row, length, lane);
}

template <int D>
void launch(const Exec& exec, const ForwardCall& call) {
  const Dim length = call.q.size(2), heads = call.q.size(0) * call.q.size(1);
  const std::size_t memory = Tile<D>::bytes(kOwnRows + 2 * kKeys);
  device::allow_shared_memory(forward_tiles<D>, memory);
  const dim3 grid(device::blocks_for(length, kOwnRows), static_cast<unsigned>(heads));
  forward_tiles<D><<<grid, kTileThreads, memory, device::queue(exec)>>>(
      heads_of(call.q), heads_of(call.k), heads_of(call.v), heads_of(call.o), call.lse.as<float>(), length,
      call.k.size(2), static_cast<float>(call.scale) * kLog2E, call.causal);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace

void forward_tensor_cores(const Exec& exec, const ForwardCall& call) {
  if (call.q.size(3) == 32) launch<32>(exec, call);
  else if (call.q.size(3) == 64) launch<64>(exec, call);
  else launch<128>(exec, call);
}

}  // namespace ashlar::kernels::attention
