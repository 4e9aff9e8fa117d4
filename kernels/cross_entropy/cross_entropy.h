// Softmax cross-entropy over rows of logits, with label smoothing and mixed targets.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// The target distribution of a row is (1 - smoothing) * (weight * onehot(target) + (1 - weight) * onehot(other)) +
// smoothing / V (Szegedy et al. 2016; mixup and cutmix give two targets a row).
struct CrossEntropyTargets {
  ConstView target;      // (R) i32; -1 leaves the row out: loss 0, gradient 0
  ConstView other = {};  // (R) i32, or absent
  ConstView weight = {};  // (R) f32, with other only; or absent: 1
  double smoothing = 0;
  void for_each_view(auto&& visit) const { visit(target), visit(other), visit(weight); }
};

//   logits (R, V) f64, f32 or bf16, rows contiguous   losses (R) master dtype
//   dlogits (R, V), or absent: gradient_scale * dloss/dlogits. In the dtype of logits, and then maybe their memory; or in bf16, of
//   f32 logits in other memory.
// InputError naming the row for a target outside [-1, V), or another target outside [0, V) of a row that is not left out.
extern const Kernel<void(const Exec&, ConstView logits, CrossEntropyTargets targets, double gradient_scale, View losses,
                         View dlogits)>
    cross_entropy;

}  // namespace ashlar::kernels
