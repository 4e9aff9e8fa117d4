// FlashAttention-2 (Dao 2023), backward, in two kernels that write without atomics: one owns keys and walks the queries
// (dk, dv), one owns queries and walks the keys (dq). Both compute p and ds again, 7 products instead of 5: the price of
// the same bits every time.
//   p = exp(scale q kᵀ - lse)   ds = p (d_o vᵀ - delta)   dv = pᵀ d_o   dk = scale dsᵀ q   dq = scale ds k
#include "kernels/attention/cuda.h"
#include "kernels/attention/tiles.cuh"

namespace ashlar::kernels::attention {
namespace {

constexpr int kStep = 32;  // rows of the tiles that are walked over
constexpr int kFragments = kStep / kMmaN;

struct Call {
  Heads d_o, q, k, v;
  const float *lse, *delta;
  Dim length;
  float scale;
  bool causal;
};

// s += own otherᵀ for 16 rows of `own` and kStep rows of `other`.
template <int D>
__device__ void multiply_rows(const Tile<D>& own, int row, const Tile<D>& other, int lane, FragmentC (&s)[kFragments]) {
#pragma unroll
  for (int column = 0; column < D; column += 2 * kMmaK) {
    const FragmentA first = own.left(row, column, lane), second = own.left(row, column + kMmaK, lane);
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      const FragmentB b = other.right_of_rows(n * kMmaN, column, lane);
      multiply(first, b, 0, s[n]);
      multiply(second, b, 1, s[n]);
    }
  }
}

// sums (16, D) += w tile for w (16, kStep) in fragments and the rows of the tile.
template <int D>
__device__ void add_products(const FragmentC (&w)[kFragments], const Tile<D>& tile, int lane, FragmentC (&sums)[D / kMmaN]) {
#pragma unroll
  for (int step = 0; step < kStep / kMmaK; ++step) {
    const FragmentA a = as_left(w, step);
#pragma unroll
    for (int n = 0; n < D / kMmaN; n += 2) {
      const FragmentB b = tile.right(step * kMmaK, n * kMmaN, lane);
      multiply(a, b, 0, sums[n]);
      multiply(a, b, 1, sums[n + 1]);
    }
  }
}

template <int D>
__global__ void __launch_bounds__(kTileThreads) key_gradients(Call call, Heads dk, Heads dv) {
  extern __shared__ __align__(16) unsigned char memory[];
  const Tile<D> keys{reinterpret_cast<Bf16*>(memory)}, values{keys.data + kOwnRows * Tile<D>::kLd},
      queries{values.data + kOwnRows * Tile<D>::kLd}, gradients{queries.data + kStep * Tile<D>::kLd};
  __shared__ float lse2[kStep], delta[kStep];
  const int lane = static_cast<int>(threadIdx.x) % device::kWarp, warp = static_cast<int>(threadIdx.x) / device::kWarp;
  const Dim head = blockIdx.y, first = Dim{blockIdx.x} * kOwnRows, length = call.length;
  load_rows(call.k.head(head), call.k.ld, first, kOwnRows, length, keys);
  load_rows(call.v.head(head), call.v.ld, first, kOwnRows, length, values);
  FragmentC sum_k[D / kMmaN], sum_v[D / kMmaN];
  const float scale2 = call.scale * kLog2E;
  // Causal: the first query that sees any of these keys is number `first`.
  for (Dim begin = call.causal ? first / kStep * kStep : 0; begin < length; begin += kStep) {
    __syncthreads();
    load_rows(call.q.head(head), call.q.ld, begin, kStep, length, queries);
    load_rows(call.d_o.head(head), call.d_o.ld, begin, kStep, length, gradients);
    if (threadIdx.x < kStep) {
      const Dim query = begin + threadIdx.x;
      // A query beyond the end has p = exp(-inf) = 0.
      lse2[threadIdx.x] = query < length ? call.lse[head * length + query] * kLog2E : INFINITY;
      delta[threadIdx.x] = query < length ? call.delta[head * length + query] : 0;
    }
    __syncthreads();
    FragmentC p[kFragments], ds[kFragments];  // (16 keys, kStep queries)
    multiply_rows(keys, warp * kMmaM, queries, lane, p);
    multiply_rows(values, warp * kMmaM, gradients, lane, ds);
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = n * kMmaN + c_column(lane, i);
        const Dim key = first + warp * kMmaM + c_row(lane, i);
        const bool visible = !call.causal || key <= begin + column;
        p[n].r[i] = visible ? exp2f(p[n].r[i] * scale2 - lse2[column]) : 0;
        ds[n].r[i] = p[n].r[i] * (ds[n].r[i] - delta[column]);
      }
    }
    add_products(p, gradients, lane, sum_v);
    add_products(ds, queries, lane, sum_k);
  }
  const float one[2] = {1, 1}, scale[2] = {call.scale, call.scale};
  store_rows<D>(sum_v, one, dv.head(head), dv.ld, first + warp * kMmaM, length, lane);
  store_rows<D>(sum_k, scale, dk.head(head), dk.ld, first + warp * kMmaM, length, lane);
}

template <int D>
__global__ void __launch_bounds__(kTileThreads) query_gradients(Call call, Heads dq) {
  extern __shared__ __align__(16) unsigned char memory[];
  const Tile<D> queries{reinterpret_cast<Bf16*>(memory)}, gradients{queries.data + kOwnRows * Tile<D>::kLd},
      keys{gradients.data + kOwnRows * Tile<D>::kLd}, values{keys.data + kStep * Tile<D>::kLd};
  const int lane = static_cast<int>(threadIdx.x) % device::kWarp, warp = static_cast<int>(threadIdx.x) / device::kWarp;
  const Dim head = blockIdx.y, first = Dim{gridDim.x - 1 - blockIdx.x} * kOwnRows, length = call.length;
  load_rows(call.q.head(head), call.q.ld, first, kOwnRows, length, queries);
  load_rows(call.d_o.head(head), call.d_o.ld, first, kOwnRows, length, gradients);
  const Dim row = first + warp * kMmaM;
  float lse2[2], delta[2];
  for (int half = 0; half < 2; ++half) {
    const Dim query = row + c_row(lane, 2 * half);
    lse2[half] = query < length ? call.lse[head * length + query] * kLog2E : INFINITY;
    delta[half] = query < length ? call.delta[head * length + query] : 0;
  }
  FragmentC sums[D / kMmaN];
  const float scale2 = call.scale * kLog2E;
  const Dim end = call.causal ? min(length, first + kOwnRows) : length;
  for (Dim begin = 0; begin < end; begin += kStep) {
    __syncthreads();
    load_rows(call.k.head(head), call.k.ld, begin, kStep, length, keys);
    load_rows(call.v.head(head), call.v.ld, begin, kStep, length, values);
    __syncthreads();
    FragmentC p[kFragments], ds[kFragments];  // (16 queries, kStep keys)
    multiply_rows(queries, warp * kMmaM, keys, lane, p);
    multiply_rows(gradients, warp * kMmaM, values, lane, ds);
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const Dim key = begin + n * kMmaN + c_column(lane, i), query = row + c_row(lane, i);
        const bool visible = key < length && (!call.causal || key <= query);
        const float weight = visible ? exp2f(p[n].r[i] * scale2 - lse2[i / 2]) : 0;
        ds[n].r[i] = weight * (ds[n].r[i] - delta[i / 2]);
      }
    }
    add_products(ds, keys, lane, sums);
  }
  const float scale[2] = {call.scale, call.scale};
  store_rows<D>(sums, scale, dq.head(head), dq.ld, row, length, lane);
}

template <int D>
void launch(const Exec& exec, const BackwardCall& c) {
  const Dim length = c.q.size(2);
  const Call call{heads_of(c.d_o), heads_of(c.q), heads_of(c.k), heads_of(c.v), c.lse.as<float>(), c.delta.as<float>(),
                  length, static_cast<float>(c.scale), c.causal};
  const std::size_t memory = Tile<D>::bytes(2 * kOwnRows + 2 * kStep);
  device::allow_shared_memory(key_gradients<D>, memory);
  device::allow_shared_memory(query_gradients<D>, memory);
  const dim3 grid(device::blocks_for(length, kOwnRows), static_cast<unsigned>(c.q.size(0) * c.q.size(1)));
  key_gradients<D><<<grid, kTileThreads, memory, device::queue(exec)>>>(call, heads_of(c.dk), heads_of(c.dv));
  query_gradients<D><<<grid, kTileThreads, memory, device::queue(exec)>>>(call, heads_of(c.dq));
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace

void backward_tensor_cores(const Exec& exec, const BackwardCall& call) {
  if (call.q.size(3) == 32) launch<32>(exec, call);
  else if (call.q.size(3) == 64) launch<64>(exec, call);
  else launch<128>(exec, call);
}

}  // namespace ashlar::kernels::attention
