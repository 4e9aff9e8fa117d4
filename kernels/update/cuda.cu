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
  static constexpr int kWide = device::kWide<A>;
  Dim count;
  const A* dw;
  A *w, *buffer;
  const double* numbers;
  A momentum, weight_decay, grad_scale;
  bool nesterov;

  bool aligned(int n) const { return aligned_for(dw, n) && aligned_for(w, n) && aligned_for(buffer, n); }

  template <int N>
  __device__ void update(Dim i) const {
    const auto lr = static_cast<A>(*numbers);
    const auto gradient = load<N>(dw + i);
    auto weight = load<N>(w + i), seen = buffer ? load<N>(buffer + i) : Pack<A, N>{};
    for (int k = 0; k < N; ++k) {
      const A g = grad_scale * gradient.value[k] + weight_decay * weight.value[k];
      const A b = buffer ? momentum * seen.value[k] + g : g;
      seen.value[k] = b;
      weight.value[k] -= lr * (buffer && nesterov ? g + momentum * b : b);
    }
    if (buffer) store<N>(seen, buffer + i);
    store<N>(weight, w + i);
  }
};

template <class A>
struct AdamWItem {
  static constexpr int kWide = device::kWide<A>;
  Dim count;
  const A* dw;
  A *w, *m, *v;
  const double* numbers;
  A grad_scale, new1, beta2, new2, eps;

  bool aligned(int n) const { return aligned_for(dw, n) && aligned_for(w, n) && aligned_for(m, n) && aligned_for(v, n); }

  template <int N>
  __device__ void update(Dim i) const {
    const auto keep = static_cast<A>(numbers[0]), step_size = static_cast<A>(numbers[1]);
    const auto v_scale = static_cast<A>(numbers[2]);
    const auto gradient = load<N>(dw + i);
    auto weight = load<N>(w + i), first = load<N>(m + i), second = load<N>(v + i);
    for (int k = 0; k < N; ++k) {
      const A g = grad_scale * gradient.value[k];
      A &own_m = first.value[k], &own_v = second.value[k];
      own_m = own_m + new1 * (g - own_m);
      own_v = beta2 * own_v + new2 * g * g;
      weight.value[k] = keep * weight.value[k] - step_size * (own_m / (sqrt(own_v) * v_scale + eps));
    }
    store<N>(first, m + i);
    store<N>(second, v + i);
    store<N>(weight, w + i);
  }
};

template <class A>
struct EmaItem {
  static constexpr int kWide = device::kWide<A>;
  Dim count;
  const A* w;
  A* average;
  A decay, rest;

  bool aligned(int n) const { return aligned_for(w, n) && aligned_for(average, n); }

  template <int N>
  __device__ void update(Dim i) const {
    const auto fresh = load<N>(w + i);
    auto seen = load<N>(average + i);
    for (int k = 0; k < N; ++k) seen.value[k] = decay * seen.value[k] + rest * fresh.value[k];
    store<N>(seen, average + i);
  }
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
EmaItem<A> item_of(const EmaTensor& t, double decay) {
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

void ema_update(const Exec& exec, double decay, std::span<const EmaTensor> tensors) {
  update_both(exec, tensors, decay);
}

}  // namespace ashlar::kernels::cuda
