// The layer as sketches and plain products one after another, on any device: what there is where nothing is fused.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels::ss1 {

// The operands of ss1_forward and ss1_backward, checked.
void compose_forward(const Exec& exec, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                     View y);
void compose_backward(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z,
                      View dx, View dz, View dbias);
// The last of which, apart: dz_h = dy_hᵀ u_h and dbias = Σ dy over the rows.
void parameter_gradients(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, View dz,
                         View dbias);

}  // namespace ashlar::kernels::ss1
