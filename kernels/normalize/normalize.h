// Rows of a given length, without a host that would have to wait for their norms.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// y[k] = x[k] t / (‖x[k]‖ + eps) for each row of x (N, M), contiguous as the others are; t is ‖target[k]‖, or 1 without a
// target. Norms are in f64. A row of zeros stays so, and one with a value that is not finite does not become finite.
// x, target and y are all f64, or each f32 or bf16; y may be x.
extern const Kernel<void(const Exec&, ConstView x, ConstView target, double eps, View y)> normalize_rows;

}  // namespace ashlar::kernels
