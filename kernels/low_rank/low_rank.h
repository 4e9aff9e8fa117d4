// Low-rank products: y = (x v) uᵀ + bias, fused over tiles of tokens.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

//   x (R, n)   u (m, r)   v (n, r)   bias (m) or absent   y (R, m); dtypes as in blast_forward
extern const Kernel<void(const Exec&, ConstView x, ConstView u, ConstView v, ConstView bias, View y)> low_rank_forward;

// As blast_backward.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView u, ConstView v, View dx, View du, View dv,
                         View dbias)>
    low_rank_backward;

}  // namespace ashlar::kernels
