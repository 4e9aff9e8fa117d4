#include "kernels/blocks/products.h"

#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

void multiply_blocks(const Exec& exec, const Side& in, const Side& out, const ConstView& x, const ConstView& w,
                     const ConstView& bias, const View& y) {
  for (const BlockRun& run : runs_of(in, out)) {
    matmul(exec, block_columns(x, in, run, run.inputs), block_weights(w, run, run.inputs, run.outputs),
           block_columns(y, out, run, run.outputs), {.bias = block_bias(bias, out, run, run.outputs)});
  }
}

void block_gradients(const Exec& exec, const Side& in, const Side& out, const ConstView& x, const ConstView& dy, bool accumulate,
                     const View& dw, const View& row_sums) {
  for (const BlockRun& run : runs_of(in, out)) {
    matmul(exec, transposed(block_columns(dy, out, run, run.outputs)), block_columns(x, in, run, run.inputs),
           block_weights(dw, run, run.outputs, run.inputs),
           {.accumulate = accumulate, .row_sums = block_values(row_sums, out, run, run.outputs)});
  }
}

}  // namespace ashlar::kernels
