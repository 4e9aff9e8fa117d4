// The sizes of a BLAST call, and the views of its hidden features.
#pragma once
#include <string_view>

#include "kernels/blast/blast.h"
#include "kernels/blast/coupling.h"
#include "kernels/blocks/blocks.h"

namespace ashlar::kernels::blast {

struct Problem {
  Dim rows;
  Side in, out;
  Dim rank;
};

// Checks x (R, n), y (R, m), u (b1, p, r), v (b2, q, r), s (b1, b2, r; absent: one block each), bias (m) and a (R, b2, r)
// with padded blocks where s couples them; s, bias and a may be absent.
Problem check_problem(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& u,
                      const ConstView& v, const ConstView& s, const ConstView& bias, const ConstView& a);

// Room for A or C of a tile: (R, blocks, r).
inline Array hidden_features(Dim rows, Dim blocks, Dim rank, DType dtype) {
  return Array::empty({rows, blocks, blast_padded_rank(rank)}, dtype).slice(2, 0, rank);
}

// hidden (R, blocks, r) -> (count, R, r): the blocks of a run as a batch.
template <class AnyView>
AnyView hidden_blocks(const AnyView& hidden, const BlockRun& run) {
  return strided(hidden, run.first * hidden.step(1), {run.count, hidden.size(0), hidden.size(2)},
                 {hidden.step(1), hidden.step(0), 1});
}

// hidden = features F: a = x V or dc = dy U, block by block.  features (R, size), factor (blocks, length, r).
void to_rank(const Exec& exec, const Side& side, const ConstView& features, const ConstView& factor, const View& hidden);
// The way back: features = hidden Fᵀ + bias, y = c Uᵀ + bias or dx = da Vᵀ, for a transposed factor (blocks, r, length).
void from_rank(const Exec& exec, const Side& side, const ConstView& hidden, const ConstView& factor, const ConstView& bias,
               const View& features);

}  // namespace ashlar::kernels::blast
