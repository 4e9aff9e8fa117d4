// The sketches of SS1, and its forward and backward, by the formulas of layers/ss1/ss1.h: H sketches of G groups of c chunks of B
// features. A sketch is R n additions for R rows.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), rows contiguous, u (H, R, G B), contiguous: f64, f32 or bf16. shift and sign (H, G, c): i32, contiguous,
// from 0 to B - 1 and 1 or -1 (checked where the host can see them). n is at most G c B.
extern const Kernel<void(const Exec&, ConstView x, ConstView shift, ConstView sign, View u)> ss1_sketch;

// The gradient of the above: dx from du.
extern const Kernel<void(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx)> ss1_sketch_backward;

// The layer: y (R, m), rows contiguous, z (m, G B) and bias (m), which may be absent, in the master dtype (z in that of x too)
// and contiguous. u receives the sketches for the backward unless it is absent.
extern const Kernel<void(const Exec&, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                         View y)>
    ss1_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of z and the bias are contiguous and in the master
// dtype. dz needs u, or x, of which the sketches are then made again; neither is read without it.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z,
                         View dx, View dz, View dbias)>
    ss1_backward;

}  // namespace ashlar::kernels
