// Functions of one value, and their derivatives.
//
//   kind      y                dx                        at the ends
//   relu      max(x, 0)        dy where x > 0, else 0    relu'(0) = 0
//   sigmoid   1 / (1 + e^-x)   dy y (1 - y)              y is 0 and 1, dx 0
//   silu      x σ(x)           dy σ (1 + x (1 - σ))      silu(-inf) = 0, its limit
//   tanh      tanh(x)          dy (1 - y²)               y is -1 and 1, dx 0
//   exp       e^x              dy e^x                    0 and inf
//   log       log(x)           dy / x                    log(0) = -inf, NaN below
//   sqrt      sqrt(x)          dy / (2 sqrt(x))          infinite slope at 0, NaN below
//
// All derivatives are computed from x: 1 - y has lost its digits where y is near 1, and all of them where y is in bf16. NaN
// stays NaN; of relu it lets dy through, as in PyTorch. Where a value or a factor of it would be below the smallest normal
// number, it may be 0.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

enum class Unary : unsigned char { relu, sigmoid, silu, tanh, exp, log, sqrt };

constexpr const char* name_of(Unary kind) {
  switch (kind) {
    case Unary::relu: return "relu";
    case Unary::sigmoid: return "sigmoid";
    case Unary::silu: return "silu";
    case Unary::tanh: return "tanh";
    case Unary::exp: return "exp";
    case Unary::log: return "log";
    case Unary::sqrt: return "sqrt";
  }
  return "?";
}

// y = f(x), any shape, contiguous; y may be the same memory as x.
extern const Kernel<void(const Exec&, ConstView x, Unary kind, View y)> unary_forward;
// dx = dy f'(x); dx may be the same memory as dy. relu takes y for x as well.
extern const Kernel<void(const Exec&, ConstView x, ConstView dy, Unary kind, View dx)> unary_backward;

}  // namespace ashlar::kernels
