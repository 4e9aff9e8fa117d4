#include "core/parallel.h"
#include "kernels/blast/cpu.h"
#include "kernels/blast/problem.h"
#include "kernels/blocks/stream_rows.h"
#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::cpu {

void blast::forward(std::string_view operation, const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s,
                    ConstView bias, View a, View y) {
  using namespace kernels::blast;
  constexpr Dim kStreamedColumns = 96;  // blocks of no more have an A so wide that writing it keeps memory busy
  // bf16 products pack their factors for each tile, so that long ones pay.
  const Dim cache_bytes = (x.dtype == DType::bf16 ? 2048 : 512) * 1024;
  const Shapes p = check_shapes(operation, x, y, u, v, s, bias, a);
  const Operand left = Operand::transposed(exec, u, x.dtype, p.rows), right(exec, v, x.dtype);
  const Array coupling = s ? pack_coupling(s, x.dtype) : Array();
  const bool streams = a && s && p.in.length <= kStreamedColumns && a.step(1) == blast_padded_rank(p.rank);
  const Dim row_values = (p.in.blocks + (s ? p.out.blocks : 0)) * blast_padded_rank(p.rank);
  const Tiles tiles = Tiles::shared(p.rows, row_values * static_cast<Dim>(size_of(x.dtype)), cache_bytes);
  parallel_items(tiles.count, [&](Dim tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.length(tile);
    const View kept = rows_of(a, begin, rows);
    Array own_a, own_c;
    if (streams || !a) own_a = hidden_features(rows, p.in.blocks, p.rank, x.dtype);
    if (s) own_c = hidden_features(rows, p.out.blocks, p.rank, x.dtype);
    const View a_tile = own_a.defined() ? View(own_a) : kept, c_tile = s ? View(own_c) : a_tile;
    const ConstView x_tile = rows_of(x, begin, rows);
    read_before_blocks(p.in, x_tile);
    to_rank(exec, p.in, x_tile, right.view(), a_tile);
    if (streams) stream_rows(whole_rows(a_tile), whole_rows(kept));  // the backward comes to it much later
    if (s) couple(coupling, a_tile, c_tile);
    from_rank(exec, p.out, c_tile, left.view(), bias, rows_of(y, begin, rows));
  });
}

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View a, View y) {
  ASHLAR_CHECK(s, "blast_forward: s must be given");
  blast::forward("blast_forward", exec, x, u, v, s, bias, a, y);
}

}  // namespace ashlar::kernels::cpu
