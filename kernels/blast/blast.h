// BLAST products, fused over tiles of tokens: the intermediates a and c (layers/blast/blast.h) never leave the cache.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

//   x (R, n)   u (b1, p, r)   v (b2, q, r)   s (b1, b2, r)   bias (m) or absent   y (R, m)
// p = ceil(m / b1), q = ceil(n / b2); x and y contiguous, f64, f32 or bf16; factors and bias in the master dtype.
extern const Kernel<void(const Exec&, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View y)>
    blast_forward;

// Any of the gradients may be absent; those of factors and bias are in the master dtype and overwritten, summed over
// tokens in an order that does not depend on the number of threads. Padded rows of u and v get gradient 0.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView u, ConstView v, ConstView s, View dx, View du,
                         View dv, View ds, View dbias)>
    blast_backward;

}  // namespace ashlar::kernels
