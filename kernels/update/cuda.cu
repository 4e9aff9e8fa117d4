// Optimizer updates on CUDA: one pass over memory, dozens of parameters in a launch.
#include <cmath>

#include "kernels/tensor_update.cuh"
#include "kernels/update/checks.h"
#include "kernels/update/update.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace updates;

template <class A>
struct SgdItem {
  Dim count;
  const A* dw;
  A *w, *buffer;
  A lr, momentum, weight_decay, grad_scale;
  bool nesterov;

  __device__ void update(Dim i) const {
    const A g = grad_scale * dw[i] + weight_decay * w[i];
    if (!buffer) {
      w[i] -= lr * g;
      return;
    }
    const A b = momentum * buffer[i] + g;
    buffer[i] = b;
    w[i] -= lr * (nesterov ? g + momentum * b : b);
  }
};

template <class A>
struct AdamWItem {
  Dim count;
  const A* dw;
  A *w, *m, *v;
  A grad_scale, new1, beta2, new2, keep, step_size, v_scale, eps;

  __device__ void update(Dim i) const {
    const A g = grad_scale * dw[i];
    const A m_new = m[i] + new1 * (g - m[i]), v_new = beta2 * v[i] + new2 * g * g;
    m[i] = m_new;
    v[i] = v_new;
    w[i] = keep * w[i] - step_size * (m_new / (sqrt(v_new) * v_scale + eps));
  }
};

template <class A>
struct AverageItem {
  Dim count;
  const A* w;
  A* average;
  A decay, rest;

  __device__ void update(Dim i) const { average[i] = decay * average[i] + rest * w[i]; }
};

template <class A>
SgdItem<A> item_of(const SgdTensor& t) {
  const SgdUpdate& p = t.update;
  return {t.w.numel(),       t.dw.as<A>(),      t.w.as<A>(),
          t.buffer.as<A>(),  static_cast<A>(p.lr), static_cast<A>(p.momentum),
          static_cast<A>(p.weight_decay), static_cast<A>(p.grad_scale), p.nesterov};
}

template <class A>
AdamWItem<A> item_of(const AdamWTensor& t) {
  const AdamWUpdate& p = t.update;
  const auto number = static_cast<double>(p.step);
  return {t.w.numel(),
          t.dw.as<A>(),
          t.w.as<A>(),
          t.m.as<A>(),
          t.v.as<A>(),
          static_cast<A>(p.grad_scale),
          static_cast<A>(1 - p.beta1),
          static_cast<A>(p.beta2),
          static_cast<A>(1 - p.beta2),
          static_cast<A>(1 - p.lr * p.weight_decay),
          static_cast<A>(p.lr / (1 - std::pow(p.beta1, number))),
          static_cast<A>(1 / std::sqrt(1 - std::pow(p.beta2, number))),
          static_cast<A>(p.eps)};
}

template <class A>
AverageItem<A> item_of(const AverageTensor& t, double decay) {
  return {t.w.numel(), t.w.as<A>(), t.average.as<A>(), static_cast<A>(decay), static_cast<A>(1 - decay)};
}

// `shared` is what the tensors have in common.
template <class A, class Tensor, class... Shared>
void update_weights(const Exec& exec, std::span<const Tensor> tensors, const Shared&... shared) {
  update_tensors(exec, tensors, [](const Tensor& tensor) { return tensor.w.dtype == dtype_of<A>(); },
                 [&](const Tensor& tensor) { return item_of<A>(tensor, shared...); });
}

template <class Tensor, class... Shared>
void update_both(const Exec& exec, std::span<const Tensor> tensors, const Shared&... shared) {
  update_weights<float>(exec, tensors, shared...);
  update_weights<double>(exec, tensors, shared...);
}

}  // namespace

void sgd_update_all(const Exec& exec, std::span<const SgdTensor> tensors) {
  for (const SgdTensor& t : tensors) check_sgd(t.dw, t.w, t.buffer);
  update_both(exec, tensors);
}

void adamw_update_all(const Exec& exec, std::span<const AdamWTensor> tensors) {
  for (const AdamWTensor& t : tensors) check_adamw(t.update, t.dw, t.w, t.m, t.v);
  update_both(exec, tensors);
}

void average_update_all(const Exec& exec, double decay, std::span<const AverageTensor> tensors) {
  for (const AverageTensor& t : tensors) check_average(t);
  update_both(exec, tensors, decay);
}

void sgd_update(const Exec& exec, const SgdUpdate& p, ConstView dw, View w, View buffer) {
  const SgdTensor tensor{p, dw, w, buffer};
  sgd_update_all(exec, {&tensor, 1});
}

void adamw_update(const Exec& exec, const AdamWUpdate& p, ConstView dw, View w, View m, View v) {
  const AdamWTensor tensor{p, dw, w, m, v};
  adamw_update_all(exec, {&tensor, 1});
}

}  // namespace ashlar::kernels::cuda
