#include "core/parallel.h"
#include "kernels/blast/coupling.h"
#include "kernels/blast/fetch.h"
#include "kernels/blast/hidden.h"

namespace ashlar::kernels::cpu {

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View kept,
                   View y) {
  using namespace kernels::blast;
  // bf16 products pack their factors for each tile, so that long ones pay.
  const Dim cache_bytes = (x.dtype == DType::bf16 ? 2048 : 512) * 1024;
  const Sizes p = check("blast_forward", x, y, u, v, s, bias, kept);
  const View a = kept_a(kept, p);
  const Operand left = Operand::transposed(exec, u, x.dtype, p.rows), right(exec, v, x.dtype);
  const Array coupling = s ? pack_coupling(s, x.dtype) : Array();
  const Dim row_values = (p.in.blocks + (s ? p.out.blocks : 0)) * blast_padded_rank(p.rank);
  const Tiles tiles = Tiles::shared(p.rows, row_values * static_cast<Dim>(size_of(x.dtype)), cache_bytes);
  const bool fetches = s && takes_short_pieces(p.in, x.dtype);  // x of a later tile, while this one is coupled
  const Dim threads = num_threads();
  parallel_items(tiles.count, [&](Dim tile) {
    const auto rows_in = [&](const auto& view, Dim i) { return rows_of(view, tiles.begin(i), tiles.length(i)); };
    const Dim rows = tiles.length(tile), later = tile + threads;  // most likely this thread's next one
    const View kept_tile = rows_in(a, tile);
    Array own_a, own_c;
    if (s || !a) own_a = hidden_features(rows, p.in.blocks, p.rank, x.dtype);
    if (s) own_c = hidden_features(rows, p.out.blocks, p.rank, x.dtype);
    const View a_tile = own_a.defined() ? View(own_a) : kept_tile, c_tile = s ? View(own_c) : a_tile;
    const ConstView x_tile = rows_in(x, tile);
    if (!fetches || tile < threads) read_before_blocks(p.in, x_tile);
    to_rank(exec, p.in, x_tile, right.view(), a_tile);
    if (s) {
      const ConstView next = fetches && later < tiles.count ? rows_in(x, later) : ConstView{};
      couple(coupling, a_tile, c_tile, {.kept = kept_tile, .next = next});
    }
    from_rank(exec, p.out, c_tile, left.view(), bias, rows_in(y, tile));
  });
}

}  // namespace ashlar::kernels::cpu
