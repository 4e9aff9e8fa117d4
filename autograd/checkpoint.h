// Activation checkpointing (Chen et al. 2016): keep the input of a part of the model, recompute the rest in backward.
#pragma once
#include <functional>

#include "autograd/tensor.h"

namespace ashlar {

// body(x), without keeping what its operations save; backward runs body again. body must be a pure function of x and
// of parameters (a module with dropout is while neither train() nor eval() is called before backward). Which of them it uses
// is not known before backward: while gradients are recorded, the result always requires one. They must keep their values
// until then: unlike what an operation saves, nobody notices when they change.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& body, const Tensor& x);

}  // namespace ashlar
