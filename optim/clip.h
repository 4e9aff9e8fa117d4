// The global gradient norm, clipping by it, and who is to blame when it is not finite.
#pragma once
#include "autograd/parameter.h"
#include "core/host_copy.h"

namespace ashlar::optim {

struct LargestGradient {
  std::string name;  // empty when there are no gradients
  double norm = 0;
};

// What clip_grad_norm did, and the norms it saw. Only a caller that asks for them waits for a GPU that is still computing them.
class Clip {
 public:
  double scale = 1;  // what Optimizer::step takes as grad_scale
  // Norms of what was queued until now; where the clipping was recorded (core/cuda/cuda.h), those of the last replay.
  void fetch() { fetched_ = HostCopy(squares_); }
  // After fetch():
  double norm() const;  // over all parameters, of the mean gradient of the accumulated batches
  // The first parameter whose gradient is not finite; if all are, the one with the largest norm.
  LargestGradient largest() const;

 private:
  friend Clip clip_grad_norm_on_device(const Parameters& parameters, double max_norm, int accumulated);
  std::vector<std::string> names_;  // of the parameters with a gradient
  Array squares_;                   // the squared norm of each
  HostCopy fetched_;
  int accumulated_ = 1;
};

// Gradients hold the sum over `accumulated` batches. They become the mean and, if the norm of that is above max_norm,
// shrink to max_norm as by torch.nn.utils.clip_grad_norm_; max_norm 0 does not clip. On the CPU nothing is written: the
// update multiplies Clip::scale in, which is not a number when the norm is not finite: step() refuses it. On a GPU the
// gradients themselves are scaled, since the scale is only known there, and Clip::scale is 1. Parameters without a gradient
// count as zero. The bits do not depend on the number of threads.
Clip clip_grad_norm(const Parameters& parameters, double max_norm, int accumulated = 1);
// The same without fetch() where a GPU does it, so that it can be recorded.
Clip clip_grad_norm_on_device(const Parameters& parameters, double max_norm, int accumulated = 1);

}  // namespace ashlar::optim
