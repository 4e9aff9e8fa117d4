// Features in blocks as batches of matrix products: all full blocks at once, then the short last one, then empty ones.
#pragma once
#include <vector>

#include "core/view.h"
#include "kernels/side.h"

namespace ashlar::kernels {

// `count` blocks from number `first` on, of `features` each.
struct BlockRun {
  Dim first, count, features;
};
inline std::vector<BlockRun> runs_of(const Side& side) {
  std::vector<BlockRun> runs;
  for (Dim block = 0; block < side.blocks; ++block) {
    const Dim features = side.count(block);
    if (!runs.empty() && runs.back().features == features) ++runs.back().count;
    else runs.push_back({block, 1, features});
  }
  return runs;
}

// Runs of blocks that are alike on both sides of a block-diagonal matrix.
struct BlockPairRun {
  Dim first, count, inputs, outputs;
};
inline std::vector<BlockPairRun> runs_of(const Side& in, const Side& out) {
  std::vector<BlockPairRun> runs;
  for (Dim block = 0; block < in.blocks; ++block) {
    const Dim inputs = in.count(block), outputs = out.count(block);
    const bool alike = !runs.empty() && runs.back().inputs == inputs && runs.back().outputs == outputs;
    if (alike) ++runs.back().count;
    else runs.push_back({block, 1, inputs, outputs});
  }
  return runs;
}

// `count` matrices (rows, columns) of a view's memory from `offset` on, `step` apart, with steps of their own.
struct MatrixSteps {
  Dim offset, step, row, column;
};
template <class AnyView>
AnyView matrices(const AnyView& v, Dim count, Dim rows, Dim columns, const MatrixSteps& steps) {
  AnyView result = v;
  using Byte = std::conditional_t<std::is_same_v<AnyView, View>, std::byte, const std::byte>;
  result.data = static_cast<Byte*>(v.data) + steps.offset * static_cast<Dim>(size_of(v.dtype));
  result.shape = Shape{count, rows, columns};
  result.stride = {steps.step, steps.row, steps.column};
  return result;
}

// Blocks of the columns of x (R, …): (count, R, features).
template <class AnyView>
AnyView column_blocks(const AnyView& x, const BlockRun& run, Dim length) {
  return matrices(x, run.count, x.size(0), run.features, {run.first * length, length, x.step(0), 1});
}
// The bias of these blocks: (count, features).
inline ConstView bias_blocks(const ConstView& bias, const BlockRun& run, Dim length) {
  if (!bias) return {};
  ConstView result = matrices(bias, 1, run.count, run.features, {run.first * length, 0, length, 1});
  result.shape = Shape{run.count, run.features};
  result.stride = {length, 1};
  return result;
}
// The matrices of a contiguous factor (blocks, length, r) without the padding: (count, features, r).
template <class AnyView>
AnyView factor_blocks(const AnyView& factor, const BlockRun& run) {
  const Dim length = factor.size(1), r = factor.size(2);
  return matrices(factor, run.count, run.features, r, {run.first * length * r, length * r, r, 1});
}

template <class AnyView>
AnyView transposed_matrices(AnyView v) {
  v.shape = Shape{v.size(0), v.size(2), v.size(1)};
  std::swap(v.stride[1], v.stride[2]);
  return v;
}

}  // namespace ashlar::kernels
