#include "kernels/blocks/blocks.h"

#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

void multiply_blocks(const Exec& exec, const ConstView& a, const ConstView& b, const ConstView& bias, const View& y) {
  // The product adds one bias for all of a batch.
  const bool one = bias && y.size(0) == 1;
  matmul(exec, a, b, y, {.bias = one ? strided(bias, 0, {y.size(2)}, {1}) : ConstView{}});
  if (bias && !one) linear_combination(exec, y, 1, strided(bias, 0, y.shape, {bias.step(0), 0, 1}), 1, y);
}

}  // namespace ashlar::kernels
