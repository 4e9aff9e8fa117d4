// The hidden features of a BLAST call, and the products that lead to them and back.
#pragma once
#include "kernels/blast/blast.h"
#include "kernels/blast/checks.h"
#include "kernels/blocks/blocks.h"

namespace ashlar::kernels::blast {

// Room for A or C of a tile: (R, blocks, r).
inline Array hidden_features(Dim rows, Dim blocks, Dim rank, DType dtype) {
  return Array::empty({rows, blocks, blast_padded_rank(rank)}, dtype).slice(2, 0, rank);
}

// A (R, b2, r) in what is kept; absent if nothing is.
template <class AnyView>
AnyView kept_a(const AnyView& kept, const Sizes& sizes) {
  if (!kept) return kept;
  return strided(kept, 0, {sizes.rows, sizes.in.blocks, sizes.rank}, {kept.step(0), kept.step(1), 1});
}

// hidden (R, blocks, r) with the padding between blocks, as rows of a matrix.
template <class AnyView>
AnyView whole_rows(const AnyView& hidden) {
  const Dim values = (hidden.size(1) - 1) * hidden.step(1) + hidden.size(2);
  return strided(hidden, 0, {hidden.size(0), values}, {hidden.step(0), 1});
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
// F's gradient (blocks, length, r) = or += featuresᵀ hidden, without its padding; `row_sums` (size), unless absent, receives the
// sums of the features over the rows.
void factor_gradient(const Exec& exec, const Side& side, const ConstView& features, const ConstView& hidden, bool accumulate,
                     const View& gradient, const View& row_sums);

}  // namespace ashlar::kernels::blast
