// A matrix W = U Vᵀ of rank r: y = (x V) Uᵀ + bias. It is BLAST with one block and no coupling, and shares its code.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. u (m, r), v (n, r) and bias (m), which may be absent, in the
// master dtype (u and v in that of x too) and contiguous. z (R, r), in the dtype of x and contiguous, receives x V for
// the backward unless it is absent.
extern const Kernel<void(const Exec&, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y)>
    low_rank_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of the factors and the bias are contiguous and
// in the master dtype. z is read, or computed again from x where it is absent.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                         View dv, View dbias)>
    low_rank_backward;

}  // namespace ashlar::kernels
