// Softmax of rows. Sums are in f32 at least, in an order that depends on the length of a row alone.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// y[r, c] = exp(x[r, c] - max) / Σ_c exp(x[r, c] - max), the maximum being that of the row; x (R, C), contiguous as the others
// are; y may be x. A row of -inf alone, or with inf or NaN in it, becomes NaN.
extern const Kernel<void(const Exec&, ConstView x, View y)> softmax_forward;
// dx = y (dy - Σ_c dy y); dx may be dy or y.
extern const Kernel<void(const Exec&, ConstView y, ConstView dy, View dx)> softmax_backward;

}  // namespace ashlar::kernels
