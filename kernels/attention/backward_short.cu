// FlashAttention-2 (Dao 2023), backward, for contexts that a block holds: one kernel, 5 products, and of q, k, v, o and d_o,
// dq, dk and dv each crosses memory once.
//   p = exp(scale q kᵀ - lse)   ds = p (d_o vᵀ - delta)   dv = pᵀ d_o   dk = scale dsᵀ q   dq = scale ds k
// A warp owns 16 keys and has pᵀ and dsᵀ of them and all queries in registers, left operands of dv and dk. dq sums over the
// keys of all warps: dsᵀ goes to them through shared memory, in the place of v, of which a warp needs its own rows alone.
#include "kernels/attention/backward_tiles.cuh"
#include "kernels/attention/cuda.h"

namespace ashlar::kernels::attention {
namespace {

template <int N>
using Fragments = std::integral_constant<int, N>;

struct Call {
  Heads d_o, q, k, v, o, dq, dk, dv;
  const float* lse;
  int length;
  unsigned heads;  // of a batch
  float scale;
  bool causal;
};

// Blocks of W warps that the registers of a multiprocessor shall have room for. D 128: as many as shared memory has room for.
// Else 16 warps; with four warps a block (64 tokens, the ViT) 20, as a sixth block would make registers spill.
template <int D, int W>
[[maybe_unused]] constexpr int kBlocks = D == 128 ? 12 / W : W == 4 ? 5 : 16 / W;

template <int D, int W>
struct Memory {
  unsigned char* data;
  static constexpr int kRows = W * kMmaM;
  static constexpr int kWide = std::max(D, kRows);
  static constexpr std::size_t kTile = Tile<D>::bytes(kRows), kNumbers = 3 * kTile + Tile<kWide>::bytes(kRows);
  static constexpr std::size_t kBytes = kNumbers + sizeof(float) * 2 * kRows;

  __device__ Tile<D> tile(std::size_t which) const { return {reinterpret_cast<Bf16*>(data + which * kTile)}; }
  __device__ Tile<D> q() const { return tile(0); }
  __device__ Tile<D> k() const { return tile(1); }
  __device__ Tile<D> d_o() const { return tile(2); }
  __device__ Tile<kWide> v_or_ds() const { return {reinterpret_cast<Bf16*>(data + 3 * kTile)}; }  // v, then dsᵀ (keys, queries)
  __device__ float* lse() const { return reinterpret_cast<float*>(data + kNumbers); }
  __device__ float* delta() const { return lse() + kRows; }
};

// The transpose of the square (16, 16) at (row, column) of a tile as left operand: square_row and square_column put the
// matrices of a right operand in the other order.
template <int D>
__device__ FragmentA left_of_columns(const Tile<D>& tile, int row, int column, int lane) {
  const FragmentB b = tile.right(row, column, lane);
  return {{b.r[0], b.r[2], b.r[1], b.r[3]}};
}

// A left operand to the square at (row, column).
template <int D>
__device__ void store_left(const FragmentA& a, const Tile<D>& tile, int row, int column, int lane) {
  Bf16* const at = tile.data + (row + c_row(lane, 0)) * Tile<D>::kLd + column + c_column(lane, 0);
#pragma unroll
  for (int r = 0; r < 4; ++r) *reinterpret_cast<unsigned*>(at + r % 2 * 8 * Tile<D>::kLd + r / 2 * 8) = a.r[r];
}

// dk and dv of keys row … + 16, and their dsᵀ in memory.
template <int D, int W>
__device__ void key_gradients(const Call& call, const Place& place, const Memory<D, W>& memory, int row, int lane) {
  FragmentC p[W][2];  // (16 keys, 16 queries) each
  OwnRows<D, D <= 64> keys(memory.k(), row, lane);
  keys.hold();
#pragma unroll
  for (int step = 0; step < W; ++step) {
    multiply_rows(keys, memory.q(), step * kMmaK, Fragments<2>(), lane, p[step]);
    __syncwarp();  // else the compiler loads ahead until it has no registers left
  }
  OwnRows<D, true, Memory<D, W>::kWide> values(memory.v_or_ds(), row, lane);
  values.hold();
  __syncwarp();  // all lanes have read the warp's rows of v
  // The first query that sees the key of half h; none sees one beyond the end.
  int seen_from[2];
  for (int half = 0; half < 2; ++half) {
    const int key = row + c_row(lane, 2 * half);
    seen_from[half] = key >= call.length ? call.length : call.causal ? key : 0;
  }
  const float scale2 = call.scale * kLog2E;
  FragmentA left_p[W];  // of 16 queries each
#pragma unroll
  for (int step = 0; step < W; ++step) {
    FragmentC ds[2];
    multiply_rows(values, memory.d_o(), step * kMmaK, Fragments<2>(), lane, ds);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int query = step * kMmaK + n * kMmaN + c_column(lane, 0);
      const float2 lse = *reinterpret_cast<const float2*>(memory.lse() + query);
      const float2 delta = *reinterpret_cast<const float2*>(memory.delta() + query);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // A query beyond the end has zeros for q, d_o, lse and delta: it adds nothing.
        float& weight = p[step][n].r[i];
        weight = ptx::exp2_approximate(weight * scale2 - (i % 2 == 0 ? lse.x : lse.y) * kLog2E);
        if (query + i % 2 < seen_from[i / 2]) weight = 0;
        ds[n].r[i] = weight * (ds[n].r[i] - (i % 2 == 0 ? delta.x : delta.y));
      }
    }
    left_p[step] = as_left(p[step], 0);
    store_left(as_left(ds, 0), memory.v_or_ds(), row, step * kMmaK, lane);
  }
  const auto store_products = [&](const auto& left, const Tile<D>& tile, float factor, const Heads& to) {
    FragmentC sums[D / kMmaN];
    add_products<W>(left, tile, Fragments<2 * W>(), lane, sums);
    const float factors[2] = {factor, factor};
    store_rows<D>(sums, factors, to.head(place), to.ld, row, call.length, lane);
  };
  store_products([&](int step) { return left_p[step]; }, memory.d_o(), 1, call.dv);
  __syncwarp();  // all lanes have written the warp's rows of dsᵀ
  store_products([&](int step) { return memory.v_or_ds().left(row, step * kMmaK, lane); }, memory.q(), call.scale, call.dk);
}

template <int D, int W>
__global__ void __launch_bounds__(W * device::kWarp, kBlocks<D, W>) all_gradients(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int kThreads = W * device::kWarp, kRows = W * kMmaM;
  const Memory<D, W> memory{shared};
  const int thread = static_cast<int>(threadIdx.x), lane = thread % device::kWarp, row = thread / device::kWarp * kMmaM;
  const int length = call.length;
  const Place place = place_of_block(1, call.heads);
  const auto load = [&](const Heads& heads, const auto& tile) {
    loads_of<D, kThreads>(heads, place, 0, length).template load<kRows>(tile);
  };
  load(call.d_o, memory.d_o()), load(call.k, memory.k()), load(call.q, memory.q()), load(call.v, memory.v_or_ds());
  if (thread < kRows) ptx::copy_async(memory.lse() + thread, call.lse + place.head * length + thread, thread < length);
  ptx::commit_copies();
  const RowSums<D, kRows, kThreads> row_sums(call.o, place, 0, length);
  __syncwarp();  // else the compiler moves the reads of o behind the wait
  ptx::wait_for_copies<0>();
  row_sums.write(memory.d_o(), memory.delta());
  __syncthreads();  // all tiles and delta are there
  key_gradients(call, place, memory, row, lane);
  __syncthreads();  // dsᵀ is there
  FragmentC sums[D / kMmaN];
  const auto left = [&](int step) { return left_of_columns(memory.v_or_ds(), step * kMmaK, row, lane); };
  add_products<W>(left, memory.k(), Fragments<2 * W>(), lane, sums);
  const float factors[2] = {call.scale, call.scale};
  store_rows<D>(sums, factors, call.dq.head(place), call.dq.ld, row, length, lane);
}

template <int D, int W = 1>
void launch(const Exec& exec, const Call& call, Dim heads) {
  if constexpr (W * kMmaM < kShortContext) {
    if (call.length > W * kMmaM) return launch<D, W + 1>(exec, call, heads);
  }
  device::allow_shared_memory(exec, all_gradients<D, W>, Memory<D, W>::kBytes);
  all_gradients<D, W><<<static_cast<unsigned>(heads), W * device::kWarp, Memory<D, W>::kBytes, device::queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace

void backward_short(const Exec& exec, const BackwardCall& c) {
  const Call call{heads_of(c.d_o), heads_of(c.q), heads_of(c.k), heads_of(c.v), heads_of(c.o), heads_of(c.dq), heads_of(c.dk),
                  heads_of(c.dv), c.lse.as<float>(), static_cast<int>(c.q.size(2)), static_cast<unsigned>(c.q.size(1)),
                  static_cast<float>(c.scale), c.causal};
  const Dim heads = c.q.size(0) * c.q.size(1);
  if (c.q.size(3) == 32) launch<32>(exec, call, heads);
  else if (c.q.size(3) == 64) launch<64>(exec, call, heads);
  else launch<128>(exec, call, heads);
}

}  // namespace ashlar::kernels::attention
