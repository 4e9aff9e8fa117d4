// The elementwise optimizer updates: one pass over a parameter, its gradient and its state.
//
// All views are contiguous, of one shape and one dtype (f32 or f64); `dw` is only read. `grad_scale` multiplies the
// gradient on the fly: the clip factor divided by the number of accumulated batches. Results do not depend on the
// number of threads.
#pragma once
#include <span>

#include "kernels/kernel.h"

namespace ashlar::kernels {

// With g = grad_scale dw + weight_decay w:
//   buffer <- momentum buffer + g,  w <- w - lr (nesterov ? g + momentum buffer : buffer)
// and w <- w - lr g where `buffer` is not given. As torch.optim.SGD with dampening 0; the buffer starts at zero.
struct SgdUpdate {
  double lr = 0, momentum = 0, weight_decay = 0, grad_scale = 1;
  bool nesterov = false;
};
extern const Kernel<void(const Exec&, const SgdUpdate&, ConstView dw, View w, View buffer)> sgd_update;
// The same for many parameters at once: on a GPU a launch for dozens of them.
struct SgdTensor {
  SgdUpdate update;
  ConstView dw;
  View w, buffer;
};
extern const Kernel<void(const Exec&, std::span<const SgdTensor>)> sgd_update_all;

// With g = grad_scale dw, in update number `step` (counted from 1):
//   m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2
//   w <- (1 - lr weight_decay) w - lr m/(1 - beta1^step) / (sqrt(v/(1 - beta2^step)) + eps)
// As torch.optim.AdamW; m and v start at zero.
struct AdamWUpdate {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, grad_scale = 1;
  Dim step = 1;
};
extern const Kernel<void(const Exec&, const AdamWUpdate&, ConstView dw, View w, View m, View v)> adamw_update;
struct AdamWTensor {
  AdamWUpdate update;
  ConstView dw;
  View w, m, v;
};
extern const Kernel<void(const Exec&, std::span<const AdamWTensor>)> adamw_update_all;

// average <- decay average + (1 - decay) w, of many weights at once.
struct AverageTensor {
  ConstView w;
  View average;
};
extern const Kernel<void(const Exec&, double decay, std::span<const AverageTensor>)> average_update_all;

}  // namespace ashlar::kernels
