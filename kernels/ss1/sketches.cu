// Sketches and their gradients in bf16 as passes of their own, eight values of four rows a thread.
#include "kernels/ss1/places.cuh"

namespace ashlar::kernels::ss1 {
namespace {

using namespace device;

// Threads (vectors of u, rows by kRowsAtOnce), blocks of z the sketches.
__global__ void sketch_places(Sizes s, Table table, const bfloat16* x, Dim ld, bfloat16* u) {
  const int width = static_cast<int>(s.width()), column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kPlaces;
  if (column >= width) return;
  const Dim h = blockIdx.z, entries = h * s.groups * s.reduction;
  const Table own{table.shift + entries, table.sign + entries};
  const Place p = place_at(s, column);
  for (Dim row = (Dim{blockIdx.y} * blockDim.y + threadIdx.y) * kRowsAtOnce; row < s.rows;
       row += Dim{gridDim.y} * blockDim.y * kRowsAtOnce) {
    Sums sums;
    add_sketches(s, own, {x, ld, s.rows, s.features, row, 1}, p, sums);
    for (int q = 0; q < kRowsAtOnce && row + q < s.rows; ++q) {
      store<kPlaces>(sums.rounded(q), u + (h * s.rows + row + q) * width + column);
    }
  }
}

// Threads (vectors of dx, rows by kRowsAtOnce).
__global__ void spread_places(Sizes s, Table table, const bfloat16* du, bfloat16* dx, Dim ld) {
  const int feature = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kPlaces, block = static_cast<int>(s.block);
  if (feature >= s.features) return;
  const int chunk = feature / block, group = chunk / static_cast<int>(s.reduction), in_chunk = feature % block;
  for (Dim row = (Dim{blockIdx.y} * blockDim.y + threadIdx.y) * kRowsAtOnce; row < s.rows;
       row += Dim{gridDim.y} * blockDim.y * kRowsAtOnce) {
    Sums sums;
    for (Dim h = 0; h < s.sketches; ++h) {
      const Dim entry = h * s.groups * s.reduction + chunk, shift = table.shift[entry];
      const RowsAtOnce from{du + h * s.rows * s.width(), s.width(), s.rows, s.width(), row, 1};
      from.add_to(sums, static_cast<float>(table.sign[entry]), whole(shift),
                  [&](int e) { return Dim{group} * block + place_of(s, in_chunk + e, shift); });
    }
    for (int q = 0; q < kRowsAtOnce && row + q < s.rows; ++q) {
      store<kPlaces>(sums.rounded(q), dx + (row + q) * ld + feature);
    }
  }
}

auto grid_of(Dim rows, Dim columns, Dim sketches) {
  return grid_of_rows(ceil_div(rows, kRowsAtOnce), ceil_div(columns, kPlaces), sketches);
}

}  // namespace

void sketch_by_places(const Exec& exec, const Sizes& s, const Table& table, const ConstView& x, const View& u) {
  const auto g = grid_of(s.rows, s.width(), s.sketches);
  sketch_places<<<g.grid, g.block, 0, queue(exec)>>>(s, table, x.as<bfloat16>(), x.step(0), u.as<bfloat16>());
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void spread_by_places(const Exec& exec, const Sizes& s, const Table& table, const ConstView& du, const View& dx) {
  const auto g = grid_of(s.rows, s.features, 1);
  spread_places<<<g.grid, g.block, 0, queue(exec)>>>(s, table, du.as<bfloat16>(), dx.as<bfloat16>(), dx.step(0));
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::ss1
