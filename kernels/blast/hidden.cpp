#include "kernels/blast/hidden.h"

#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::blast {

void to_rank(const Exec& exec, const Side& side, const ConstView& features, const ConstView& factor, const View& hidden) {
  for (const BlockRun& run : runs_of(side)) {
    matmul(exec, block_columns(features, side, run, run.inputs), block_weights(factor, run, run.inputs, factor.size(2)),
           hidden_blocks(hidden, run), {});
  }
}

void from_rank(const Exec& exec, const Side& side, const ConstView& hidden, const ConstView& factor, const ConstView& bias,
               const View& features) {
  for (const BlockRun& run : runs_of(side)) {
    matmul(exec, hidden_blocks(hidden, run), block_weights(factor, run, factor.size(1), run.outputs),
           block_columns(features, side, run, run.outputs), {.bias = block_bias(bias, side, run, run.outputs)});
  }
}

void factor_gradient(const Exec& exec, const Side& side, const ConstView& features, const ConstView& hidden, bool accumulate,
                     const View& gradient, const View& row_sums) {
  for (const BlockRun& run : runs_of(side)) {
    matmul(exec, transposed(block_columns(features, side, run, run.inputs)), hidden_blocks(hidden, run),
           block_weights(gradient, run, run.inputs, gradient.size(2)),
           {.accumulate = accumulate, .row_sums = block_values(row_sums, side, run, run.inputs)});
  }
}

}  // namespace ashlar::kernels::blast
