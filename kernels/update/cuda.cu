// Optimizer updates on CUDA: one pass over memory, many parameters in a launch.
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
  const double* numbers;
  A momentum, weight_decay, grad_scale;
  bool nesterov;

  __device__ void update(Dim i) const {
    const auto lr = static_cast<A>(*numbers);
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
  const double* numbers;
  A grad_scale, new1, beta2, new2, eps;

  __device__ void update(Dim i) const {
    const auto keep = static_cast<A>(numbers[0]), step_size = static_cast<A>(numbers[1]);
    const auto v_scale = static_cast<A>(numbers[2]);
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
  return {t.w.numel(),
          t.dw.as<A>(),
          t.w.as<A>(),
          t.buffer.as<A>(),
          t.numbers.as<double>(),
          static_cast<A>(t.momentum),
          static_cast<A>(t.weight_decay),
          static_cast<A>(t.grad_scale),
          t.nesterov};
}

template <class A>
AdamWItem<A> item_of(const AdamWTensor& t) {
  return {t.w.numel(),
          t.dw.as<A>(),
          t.w.as<A>(),
          t.m.as<A>(),
          t.v.as<A>(),
          t.numbers.as<double>(),
          static_cast<A>(t.grad_scale),
          static_cast<A>(1 - t.beta1),
          static_cast<A>(t.beta2),
          static_cast<A>(1 - t.beta2),
          static_cast<A>(t.eps)};
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
  for (const Tensor& tensor : tensors) check(tensor);
  update_weights<float>(exec, tensors, shared...);
  update_weights<double>(exec, tensors, shared...);
}

}  // namespace

void sgd_update(const Exec& exec, std::span<const SgdTensor> tensors) { update_both(exec, tensors); }

void adamw_update(const Exec& exec, std::span<const AdamWTensor> tensors) { update_both(exec, tensors); }

void average_update(const Exec& exec, double decay, std::span<const AverageTensor> tensors) {
  update_both(exec, tensors, decay);
}

}  // namespace ashlar::kernels::cuda
