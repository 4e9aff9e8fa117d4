// dx from dy in one kernel, on tensor cores: a tile of du = dy z is rounded to bf16 in shared memory, and from there each
// of its values goes to the c places of dx that it was summed from. Every feature belongs to exactly one place of the only
// sketch: plain stores, and du never crosses device memory.
#include "kernels/ss1/tiles.cuh"

namespace ashlar::kernels::ss1 {
namespace {

struct Call {
  Sizes s;
  Table table;
  const Bf16* dy;
  Dim ld_dy, outputs;
  const Bf16* z;
  Dim width;  // of z and du
  bfloat16* dx;
  Dim ld_dx;
};

using Stage = ProductTiles<kRows, kDepth, kColumns>;  // of dy and z
constexpr std::size_t kMemory = kStages * Stage::kBytes;
static_assert(Tile<kColumns>::bytes(kRows) <= kMemory, "du takes the place of the operands");

// The warp's results, rounded.
__device__ void keep_results(const Warp& own, const Tile<kColumns>& du) {
#pragma unroll
  for (int m = 0; m < kWarpRows / kMmaM; ++m) {
#pragma unroll
    for (int n = 0; n < kWarpColumns / kMmaN; ++n) {
      const float(&sum)[4] = own.sum[m][n].r;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = own.row + m * kMmaM + c_row(own.lane, 2 * half);
        const int c = own.column + n * kMmaN + c_column(own.lane, 0);
        *reinterpret_cast<__nv_bfloat162*>(du.data + r * Tile<kColumns>::kLd + c) =
            __floats2bfloat162_rn(sum[2 * half], sum[2 * half + 1]);
      }
    }
  }
}

// Eight places from p on, with their sign, to chunk i of row `to` of dx.
__device__ void store_chunk(const Sizes& s, Pack<bfloat16, kPlaces> values, bool negative, bfloat16* to, Place p, Dim i,
                            Dim shift) {
#pragma unroll
  for (bfloat16& value : values.value) value.bits = static_cast<std::uint16_t>(value.bits ^ (negative ? 0x8000u : 0u));
  if (whole(shift)) {
    const Dim feature = feature_of(s, p.group, i, p.k, shift);
    if (feature < s.features) store<kPlaces>(values, to + feature);
    return;
  }
#pragma unroll
  for (int e = 0; e < kPlaces; ++e) {
    const Dim feature = feature_of(s, p.group, i, p.k + e, shift);
    if (feature < s.features) to[feature] = values.value[e];
  }
}

// Neighbouring threads have neighbouring places of a row.
__device__ void spread(const Call& call, Dim row, int column, const Tile<kColumns>& du) {
  const Sizes& s = call.s;
  constexpr int kVectors = kColumns / kPlaces;
  for (int item = static_cast<int>(threadIdx.x); item < kRows * kVectors; item += kBlockThreads) {
    const int r = item / kVectors, c = item % kVectors * kPlaces;
    if (row + r >= s.rows || column + c >= s.width()) continue;
    const auto values = load<kPlaces>(reinterpret_cast<const bfloat16*>(du.data + r * Tile<kColumns>::kLd + c));
    const Place p = place_at(s, column + c);
    for (Dim i = 0; i < s.reduction; ++i) {
      const Dim entry = p.group * s.reduction + i;
      store_chunk(s, values, call.table.sign[entry] < 0, call.dx + (row + r) * call.ld_dx, p, i, call.table.shift[entry]);
    }
  }
}

// A block for each tile of du. Neighbours have the same rows, whose dy they find in the cache.
__global__ void __launch_bounds__(kBlockThreads, 2) spread_product(const __grid_constant__ Call call) {
  extern __shared__ __align__(16) unsigned char memory[];
  const unsigned tiles = static_cast<unsigned>(call.width + kColumns - 1) / kColumns;
  const Dim row = Dim{blockIdx.x / tiles} * kRows;
  const int column = static_cast<int>(blockIdx.x % tiles) * kColumns, outputs = static_cast<int>(call.outputs);
  const int total = (outputs + kDepth - 1) / kDepth;
  TileLoads<kDepth, kBlockThreads> dy(call.dy + row * call.ld_dy, call.ld_dy, static_cast<int>(min(call.s.rows - row, Dim{kRows})),
                                      outputs);
  TileLoads<kColumns, kBlockThreads> z(call.z + column, call.width, outputs, static_cast<int>(call.width) - column);
  const auto stage = [&](int step) { return Stage(memory + static_cast<std::size_t>(step % kStages) * Stage::kBytes); };
  const auto load = [&](int step) {
    if (step < total) {
      dy.load<kRows>(stage(step).a);
      z.load<kDepth>(stage(step).b);
      dy.pass_columns(kDepth), z.pass_rows(kDepth);
    }
    ptx::commit_copies();
  };
  for (int step = 0; step < kStages - 1; ++step) load(step);
  Warp own;
  for (int step = 0; step < total; ++step) {
    ptx::wait_for_copies<kStages - 2>();
    // All see the step's operands, and none still reads those that the next copies replace.
    __syncthreads();
    load(step + kStages - 1);
    stage(step).add_products(own.row, own.column, own.lane, own.sum);
  }
  __syncthreads();
  const Tile<kColumns> du{reinterpret_cast<Bf16*>(memory)};
  keep_results(own, du);
  __syncthreads();
  spread(call, row, column, du);
}

}  // namespace

void fused_input_gradient(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& dy,
                          const ConstView& z, const View& dx) {
  const Operand narrow(exec, z, DType::bf16);
  const Call call{sizes, table, values(dy), dy.step(0), dy.size(1), values(narrow.view()), sizes.width(), dx.as<bfloat16>(),
                  dx.step(0)};
  allow_shared_memory(exec, spread_product, kMemory);
  const Dim tiles = ceil_div(sizes.rows, kRows) * ceil_div(sizes.width(), kColumns);
  spread_product<<<static_cast<unsigned>(tiles), kBlockThreads, kMemory, queue(exec)>>>(call);
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::ss1
