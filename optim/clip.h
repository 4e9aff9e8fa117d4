// The global gradient norm, clipping by it, and who is to blame when it is not finite.
#pragma once
#include "autograd/parameter.h"

namespace ashlar::optim {

struct Clip {
  double norm = 0;   // over all parameters, of the mean gradient of the accumulated batches
  double scale = 1;  // what Optimizer::step takes as grad_scale
};
// Gradients hold the sum over `accumulated` batches; the scale turns it into the mean and, if the norm of that is
// above max_norm, shrinks it to max_norm as torch.nn.utils.clip_grad_norm_ does. max_norm 0 does not clip.
// Nothing is written: the update multiplies the scale in. Look at the norm first: when it is not finite, the scale is
// of no use. Parameters without a gradient count as zero. The bits do not depend on the number of threads.
Clip clip_grad_norm(const Parameters& parameters, double max_norm, int accumulated = 1);

struct LargestGradient {
  std::string name;  // empty when there are no gradients
  double norm = 0;
};
// The first parameter whose gradient is not finite; if all are, the one with the largest norm.
LargestGradient largest_gradient(const Parameters& parameters);

}  // namespace ashlar::optim
