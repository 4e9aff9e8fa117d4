// Clipping by the global gradient norm (Pascanu et al. 2013) where the norm is: nobody waits for its value.
#pragma once
#include <algorithm>
#include <limits>
#include <span>

#include "kernels/kernel.h"

namespace ashlar::kernels {

// What turns gradients that were summed over `accumulated` batches into their mean, shrunk to max_norm if its norm is
// above that; max_norm 0 does not clip.
struct ClipRule {
  double max_norm = 0;
  double accumulated = 1;

  // `norm`: of the mean. 1e-6 as in torch.nn.utils.clip_grad_norm_, so that clipped runs can be compared. NaN where the
  // norm is not finite: with a factor of 0 or 1 a broken step would pass for one that was skipped or not clipped.
  constexpr double factor(double norm) const {
    if (!(norm <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::quiet_NaN();
    return (max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0) / accumulated;
  }
};

// gradient *= rule.factor(norm) for each of them, where norm² accumulated² = Σ squares, (N) f64 (sums_of_squares).
// The gradients are contiguous, f32 or f64; where the factor is 1 they are not even read. Optimizers need it on a GPU: on the
// CPU they know the norm, and the update takes the factor along.
extern const Kernel<void(const Exec&, std::span<const View> gradients, ConstView squares, ClipRule rule)> clip_gradients;

}  // namespace ashlar::kernels
