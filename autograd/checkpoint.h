// Activation checkpointing (Chen et al. 2016): keep the input of a part of the model, recompute the rest in backward.
#pragma once
#include <functional>

#include "autograd/tensor.h"

namespace ashlar {

// body(x), without keeping what its operations save; backward runs body again. body must be a pure function of x and
// of parameters (dropout is: its masks depend on the step only). Which of them it uses is not known before backward: while
// gradients are recorded, the result always requires one.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& body, const Tensor& x);

}  // namespace ashlar
