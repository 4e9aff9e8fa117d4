// The forward and backward of Monarch, by the formulas of layers/monarch/monarch.h, here with b1 blocks of the outputs, b2 of the
// inputs and c hidden features for each pair. A (R, b2, b1 c) is regrouped into H (R, b1, b2 c) in the cache: no pass over memory
// shuffles anything.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. r (b2, b1 c, q), l (b1, p, b2 c) and bias (m), which may be
// absent, in the master dtype (r and l in that of x too) and contiguous. p = ceil(m / b1), q = ceil(n / b2): the last
// blocks are as if x and y were padded with zeros. h (R, b1 b2 c), in the dtype of x and contiguous, receives H for the
// backward unless it is absent.
extern const Kernel<void(const Exec&, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y)>
    monarch_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of the factors and the bias are contiguous and
// in the master dtype; padding gets exactly zero. H is read for dl, which costs less than computing it again.
// Sums over rows are grouped by R alone, never by the number of threads.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx,
                         View dr, View dl, View dbias)>
    monarch_backward;

}  // namespace ashlar::kernels
