// Layer normalisation over the last dimension (Ba et al. 2016): y = (x - mean) * rstd * weight + bias.
// Matrices share one dtype; their rows may lie any distance apart, each row is contiguous.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

//   x, y (R, C)   weight, bias (C) master dtype   mean, rstd (R) master dtype, the two cheap statistics kept for backward
// With `branch` (R, C), what a residual connection adds to x, the norm is that of sum (R, C) = x + branch, rounded to its
// dtype as linear_combination rounds it, so that the sum needs no pass of its own. branch and sum come together or not at
// all; sum may be the same memory as x or branch.
extern const Kernel<void(const Exec&, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                         View sum, View y, View mean, View rstd)>
    layer_norm_forward;

//   dx (R, C) = gradient of x, plus `add` (R, C) when given: the gradient that reaches x by another way (a residual
//   connection), so that it needs no pass of its own; dx may be the same memory as add.
//   dweight, dbias (C) master dtype, overwritten; summed in a fixed order. dx, dweight and dbias may be absent.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias)>
    layer_norm_backward;

}  // namespace ashlar::kernels
