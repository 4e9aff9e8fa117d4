#include "kernels/blast/coupling.h"
#include "kernels/blast/cpu.h"
#include "kernels/blast/plan.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace kernels::blast;

constexpr Dim kTileRows = 32;

template <class T>
void forward_typed(const Shapes& shapes, const ConstView& x, const ConstView& u, const ConstView& v, const ConstView& s,
                   const ConstView& bias, const View& y) {
  using C = accumulate_t<T>;
  constexpr bool kConvert = !std::is_same_v<T, C>;
  const Side in = shapes.in, out = shapes.out;
  const Dim tile_rows = std::clamp<Dim>(ceil_div(shapes.rows, num_threads()), 1, kTileRows);
  const Chunks chunks(shapes.rank, tile_rows * (in.blocks + out.blocks), sizeof(C), vector_lanes<C>());
  const PackedFactor<C> to_rank(v, in, chunks, false), from_rank(u, out, chunks, true);
  const PackedCoupling<C> packed_s(s, out.blocks * in.blocks, chunks);

  // Each row is computed by itself: the tiles may depend on the number of threads.
  parallel_items(ceil_div(shapes.rows, tile_rows), [&](Dim tile) {
    const Dim begin = tile * tile_rows, rows = std::min(tile_rows, shapes.rows - begin);
    const Dim block = block_size(rows, chunks.width);
    Scratch<C> scratch((in.blocks + out.blocks) * block +
                       (kConvert ? Scratch<C>::padded(rows * in.size) + Scratch<C>::padded(rows * out.size) : 0));
    C* const a = scratch.take(in.blocks * block);
    C* const c = s ? scratch.take(out.blocks * block) : a;

    const C* x_tile;
    C* y_tile;
    Dim ld_x = x.step(0), ld_y = y.step(0);
    if constexpr (kConvert) {
      C* const converted = scratch.take(rows * in.size);
      copy_tile(x.as<T>() + begin * ld_x, ld_x, converted, in.size, rows, in.size);
      x_tile = converted;
      y_tile = scratch.take(rows * out.size);
      ld_x = in.size;
      ld_y = out.size;
    } else {
      x_tile = x.as<T>() + begin * ld_x;
      y_tile = y.as<T>() + begin * ld_y;
    }
    for (Dim chunk = 0; chunk < chunks.count; ++chunk) {
      const Dim width = chunks.padded(chunk);
      for (Dim j = 0; j < in.blocks; ++j) {
        const SmallGemm<C> product{.m = rows, .n = width, .k = in.count(j), .lda = ld_x, .ldc = width, .packed_b = true};
        product(x_tile + in.begin(j), to_rank.at(chunk, j), a + j * block);
      }
      if (s) {
        couple(Coupling<C>{in.blocks, out.blocks, rows, width, block, packed_s.at(chunks.begin(chunk)), chunks.lanes,
                           in.blocks * chunks.lanes},
               a, c);
      }
      for (Dim i = 0; i < out.blocks; ++i) {
        const SmallGemm<C> product{.m = rows, .n = out.count(i), .k = chunks.size(chunk), .lda = width, .ldc = ld_y,
                                   .accumulate = chunk > 0, .packed_b = true,
                                   .bias = bias && chunk == 0 ? bias.as<C>() + out.begin(i) : nullptr};
        product(c + i * block, from_rank.at(chunk, i), y_tile + out.begin(i));
      }
    }
    if constexpr (kConvert) copy_tile(y_tile, ld_y, y.as<T>() + begin * y.step(0), y.step(0), rows, out.size);
  });
}

}  // namespace

void blast::forward(std::string_view operation, const Exec&, ConstView x, ConstView u, ConstView v, ConstView s,
                    ConstView bias, View y) {
  const Shapes shapes = check_shapes(operation, x, y, u, v, s, bias);
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype, operation, [&]<class T>() { forward_typed<T>(shapes, x, u, v, s, bias, y); });
}

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View y) {
  ASHLAR_CHECK(s, "blast_forward: s must be given");
  blast::forward("blast_forward", exec, x, u, v, s, bias, y);
}

}  // namespace ashlar::kernels::cpu
