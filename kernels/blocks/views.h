// Features in blocks as batches of matrices: all full blocks at once, then the short last one, then empty ones. Layouts
// alone, for every device.
#pragma once
#include <vector>

#include "kernels/side.h"
#include "kernels/views.h"

namespace ashlar::kernels {

// `count` blocks from number `first` on that are alike on both sides of a matrix.
struct BlockRun {
  Dim first, count, inputs, outputs;
};
inline std::vector<BlockRun> runs_of(const Side& in, const Side& out) {
  std::vector<BlockRun> runs;
  for (Dim block = 0; block < in.blocks; ++block) {
    const Dim inputs = in.count(block), outputs = out.count(block);
    const bool alike = !runs.empty() && runs.back().inputs == inputs && runs.back().outputs == outputs;
    if (alike) ++runs.back().count;
    else runs.push_back({block, 1, inputs, outputs});
  }
  return runs;
}
// Of one side: its features are the inputs and the outputs.
inline std::vector<BlockRun> runs_of(const Side& side) { return runs_of(side, side); }

// rows (R, features) -> (count, R, length): `length` features of each block of a run.
template <class AnyView>
AnyView block_columns(const AnyView& rows, const Side& side, const BlockRun& run, Dim length) {
  return strided(rows, run.first * side.length, {run.count, rows.size(0), length}, {side.length, rows.step(0), 1});
}

// weights (blocks, p, q) -> (count, rows, columns): the upper left part of each block of a run.
template <class AnyView>
AnyView block_weights(const AnyView& weights, const BlockRun& run, Dim rows, Dim columns) {
  return strided(weights, run.first * weights.step(0), {run.count, rows, columns},
                 {weights.step(0), weights.step(1), weights.step(2)});
}

// bias (features) -> (count, 1, length): the part that belongs to a run. An absent bias stays absent.
inline ConstView block_bias(const ConstView& bias, const Side& side, const BlockRun& run, Dim length) {
  if (!bias) return bias;
  return strided(bias, run.first * side.length, {run.count, 1, length}, {side.length, 0, 1});
}

// Values for the features, such as a bias's gradient -> (count, length): the part that belongs to a run; may be absent.
inline View block_values(const View& values, const Side& side, const BlockRun& run, Dim length) {
  if (!values) return values;
  return strided(values, run.first * side.length, {run.count, length}, {side.length, 1});
}

}  // namespace ashlar::kernels
