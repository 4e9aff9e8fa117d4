// Gaussian error linear unit (Hendrycks and Gimpel 2016), exact or by the tanh formula that GPT-2 uses.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

enum class Gelu : unsigned char {
  erf,   // x Φ(x)
  tanh,  // x / 2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))
};

// y = gelu(x), any shape, contiguous; y may be the same memory as x.
extern const Kernel<void(const Exec&, ConstView x, Gelu kind, View y)> gelu_forward;
// dx = dy gelu'(x); dx may be the same memory as dy.
extern const Kernel<void(const Exec&, ConstView x, ConstView dy, Gelu kind, View dx)> gelu_backward;

}  // namespace ashlar::kernels
