// Work on each element. Shapes must be equal; broadcast by expanding a view (stride 0) first. Operands are all f64, or
// each f32 or bf16, unless said otherwise.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// y = alpha a + beta b, any strides; y may be the same memory as a or b when its strides are the same.
extern const Kernel<void(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y)> linear_combination;
// y = a * b, any strides.
extern const Kernel<void(const Exec&, ConstView a, ConstView b, View y)> multiply;
// y = a / b, any strides.
extern const Kernel<void(const Exec&, ConstView a, ConstView b, View y)> divide;
// y = alpha x, any strides.
extern const Kernel<void(const Exec&, ConstView x, double alpha, View y)> scale;
// y = alpha x + beta, any strides.
extern const Kernel<void(const Exec&, ConstView x, double alpha, double beta, View y)> affine;
// y = x in y's dtype (f64, f32, bf16), any strides; fast where both are contiguous.
extern const Kernel<void(const Exec&, ConstView x, View y)> cast;

}  // namespace ashlar::kernels
