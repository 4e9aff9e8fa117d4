// The elementwise optimizer updates: one pass over a parameter, its gradient and its state, of many parameters at once; on a
// GPU a launch for hundreds of them.
//
// All views of a tensor but `numbers` are contiguous, of one shape and one dtype (f32 or f64); `dw` is only read.
// `grad_scale` multiplies the gradient on the fly: the clip factor divided by the number of accumulated batches. Results
// do not depend on the number of threads.
// `numbers` (f64, in the memory of the device) holds what changes from step to step and is read when the update is done:
// recorded once (core/cuda/cuda.h), it can be replayed with others.
#pragma once
#include <array>
#include <span>

#include "kernels/kernel.h"

namespace ashlar::kernels {

// With lr = numbers[0] and g = grad_scale dw + weight_decay w:
//   buffer <- momentum buffer + g,  w <- w - lr (nesterov ? g + momentum buffer : buffer)
// and w <- w - lr g where `buffer` is not given. As torch.optim.SGD with dampening 0; the buffer starts at zero.
struct SgdTensor {
  double momentum = 0, weight_decay = 0, grad_scale = 1;
  bool nesterov = false;
  ConstView numbers = {}, dw = {};
  View w = {}, buffer = {};

  void for_each_view(auto&& visit) const { visit(numbers), visit(dw), visit(w), visit(buffer); }
};
extern const Kernel<void(const Exec&, std::span<const SgdTensor>)> sgd_update;

// With g = grad_scale dw and numbers = {keep, step_size, v_scale}:
//   m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2
//   w <- keep w - step_size m / (v_scale sqrt(v) + eps)
// AdamW (Loshchilov and Hutter 2019, algorithm 2) as torch.optim.AdamW has it; m and v start at zero.
struct AdamWTensor {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, grad_scale = 1;
  ConstView numbers = {}, dw = {};
  View w = {}, m = {}, v = {};

  void for_each_view(auto&& visit) const { visit(numbers), visit(dw), visit(w), visit(m), visit(v); }
};
extern const Kernel<void(const Exec&, std::span<const AdamWTensor>)> adamw_update;
// The numbers of update `step`, counted from 1: 1 - lr weight_decay, lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step).
std::array<double, 3> adamw_numbers(double lr, double weight_decay, double beta1, double beta2, Dim step);

// An exponential moving average of the weights (after Polyak and Juditsky 1992):
//   average <- decay average + (1 - decay) w
struct EmaTensor {
  ConstView w;
  View average;

  void for_each_view(auto&& visit) const { visit(w), visit(average); }
};
extern const Kernel<void(const Exec&, double decay, std::span<const EmaTensor>)> ema_update;

}  // namespace ashlar::kernels
