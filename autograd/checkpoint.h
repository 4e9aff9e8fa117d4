// Activation checkpointing (Chen et al. 2016): keep the input of a part of the model, recompute the rest in backward.
#pragma once
#include <functional>

#include "autograd/tensor.h"

namespace ashlar {

// body(x), without keeping what its operations save; backward runs body again. body must be a pure function of x and
// of parameters (a module with dropout is one, as long as neither train() nor eval() is called before backward). Which
// parameters it uses is only known in backward, so while gradients are recorded the result always requires a gradient. The
// parameters must not change before backward: that is checked for what operations save, but not for these.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& body, const Tensor& x);

}  // namespace ashlar
