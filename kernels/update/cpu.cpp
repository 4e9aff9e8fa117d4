// Optimizer updates on the CPU: limited by memory, so everything is done in the one pass.
#include "kernels/update/cpu.h"

#include <array>
#include <cmath>
#include <cstring>

#include "kernels/elementwise/elementwise.h"
#include "kernels/simd.h"
#include "kernels/update/checks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/update/cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Calls step(dw, state) with pointers to one vector's worth of elements each; `state` is what is rewritten, the weight
// first. The last, incomplete vector is worked on in padded copies, so that every element sees the same instructions.
template <class T, std::size_t N, class Step>
void for_each_vector(Dim count, const T* dw, std::array<T*, N> state, const Step& step) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  auto left = static_cast<std::size_t>(count);
  for (; left >= lanes; left -= lanes) {
    step(dw, state);
    dw += lanes;
    for (T*& values : state) values += lanes;
  }
  if (left == 0) return;
  constexpr std::size_t kMaxLanes = hn::MaxLanes(d);
  T last_dw[kMaxLanes] = {}, last[N][kMaxLanes] = {};
  std::array<T*, N> last_state;
  std::memcpy(last_dw, dw, left * sizeof(T));
  for (std::size_t k = 0; k < N; ++k) {
    last_state[k] = last[k];
    std::memcpy(last[k], state[k], left * sizeof(T));
  }
  step(last_dw, last_state);
  for (std::size_t k = 0; k < N; ++k) std::memcpy(state[k], last[k], left * sizeof(T));
}

template <class T>
void sgd(const SgdUpdate& p, Dim count, const T* dw, T* w, T* buffer) {
  const hn::ScalableTag<T> d;
  const auto lr = hn::Set(d, static_cast<T>(-p.lr));
  const auto scale = hn::Set(d, static_cast<T>(p.grad_scale));
  const auto decay = hn::Set(d, static_cast<T>(p.weight_decay));
  const auto momentum = hn::Set(d, static_cast<T>(p.momentum));
  const auto decayed_gradient = [&](const T* dw_at, const T* w_at) HWY_ATTR {
    return hn::MulAdd(decay, hn::LoadU(d, w_at), hn::Mul(scale, hn::LoadU(d, dw_at)));
  };
  const auto descend = [&](auto direction, T* w_at) HWY_ATTR {
    hn::StoreU(hn::MulAdd(lr, direction, hn::LoadU(d, w_at)), d, w_at);
  };
  if (!buffer) {
    for_each_vector(count, dw, std::array{w}, [&](const T* dw_at, const std::array<T*, 1>& at) HWY_ATTR {
      descend(decayed_gradient(dw_at, at[0]), at[0]);
    });
    return;
  }
  for_each_vector(count, dw, std::array{w, buffer}, [&](const T* dw_at, const std::array<T*, 2>& at) HWY_ATTR {
    const auto g = decayed_gradient(dw_at, at[0]);
    const auto b = hn::MulAdd(momentum, hn::LoadU(d, at[1]), g);
    hn::StoreU(b, d, at[1]);
    descend(p.nesterov ? hn::MulAdd(momentum, b, g) : b, at[0]);
  });
}

template <class T>
void adamw(const AdamWUpdate& p, Dim count, const T* dw, T* w, T* m, T* v) {
  const hn::ScalableTag<T> d;
  const auto number = static_cast<double>(p.step);
  const auto step_size = hn::Set(d, static_cast<T>(-p.lr / (1 - std::pow(p.beta1, number))));
  const auto v_scale = hn::Set(d, static_cast<T>(1 / std::sqrt(1 - std::pow(p.beta2, number))));
  const auto scale = hn::Set(d, static_cast<T>(p.grad_scale));
  const auto keep = hn::Set(d, static_cast<T>(1 - p.lr * p.weight_decay));
  const auto eps = hn::Set(d, static_cast<T>(p.eps));
  const auto new1 = hn::Set(d, static_cast<T>(1 - p.beta1));
  const auto beta2 = hn::Set(d, static_cast<T>(p.beta2)), new2 = hn::Set(d, static_cast<T>(1 - p.beta2));
  for_each_vector(count, dw, std::array{w, m, v}, [&](const T* dw_at, const std::array<T*, 3>& at) HWY_ATTR {
    const auto g = hn::Mul(scale, hn::LoadU(d, dw_at));
    const auto m_old = hn::LoadU(d, at[1]);
    const auto m_new = hn::MulAdd(new1, hn::Sub(g, m_old), m_old);
    const auto v_new = hn::MulAdd(hn::Mul(new2, g), g, hn::Mul(beta2, hn::LoadU(d, at[2])));
    hn::StoreU(m_new, d, at[1]);
    hn::StoreU(v_new, d, at[2]);
    const auto direction = hn::Div(m_new, hn::MulAdd(hn::Sqrt(v_new), v_scale, eps));
    hn::StoreU(hn::MulAdd(step_size, direction, hn::Mul(keep, hn::LoadU(d, at[0]))), d, at[0]);
  });
}

// HWY_EXPORT takes no templates.
void sgd_f32(const SgdUpdate& p, Dim count, const float* dw, float* w, float* buffer) { sgd(p, count, dw, w, buffer); }
void sgd_f64(const SgdUpdate& p, Dim count, const double* dw, double* w, double* buffer) {
  sgd(p, count, dw, w, buffer);
}
void adamw_f32(const AdamWUpdate& p, Dim count, const float* dw, float* w, float* m, float* v) {
  adamw(p, count, dw, w, m, v);
}
void adamw_f64(const AdamWUpdate& p, Dim count, const double* dw, double* w, double* m, double* v) {
  adamw(p, count, dw, w, m, v);
}

}  // namespace
}  // namespace ashlar::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels::cpu {
HWY_EXPORT(sgd_f32);
HWY_EXPORT(sgd_f64);
HWY_EXPORT(adamw_f32);
HWY_EXPORT(adamw_f64);

namespace {

// Threads get whole blocks: vectors start at the same elements for any number of threads.
constexpr Dim kBlock = 1024;

// body(begin, count) on ranges that cover [0, total).
template <class Body>
void for_each_range(Dim total, const Body& body) {
  parallel_for((total + kBlock - 1) / kBlock, kGrain / kBlock, [&](Dim first, Dim last) {
    body(first * kBlock, std::min(total, last * kBlock) - first * kBlock);
  });
}

}  // namespace

void sgd_update(const Exec&, const SgdUpdate& p, ConstView dw, View w, View buffer) {
  updates::check_sgd(dw, w, buffer);
  const auto run = [&]<class T>(const auto& kernel) {
    for_each_range(w.numel(), [&](Dim begin, Dim count) {
      kernel(p, count, dw.as<T>() + begin, w.as<T>() + begin, buffer ? buffer.as<T>() + begin : nullptr);
    });
  };
  if (w.dtype == DType::f32) run.operator()<float>(ASHLAR_DISPATCH(sgd_f32));
  else run.operator()<double>(ASHLAR_DISPATCH(sgd_f64));
}

void adamw_update(const Exec&, const AdamWUpdate& p, ConstView dw, View w, View m, View v) {
  updates::check_adamw(p, dw, w, m, v);
  const auto run = [&]<class T>(const auto& kernel) {
    for_each_range(w.numel(), [&](Dim begin, Dim count) {
      kernel(p, count, dw.as<T>() + begin, w.as<T>() + begin, m.as<T>() + begin, v.as<T>() + begin);
    });
  };
  if (w.dtype == DType::f32) run.operator()<float>(ASHLAR_DISPATCH(adamw_f32));
  else run.operator()<double>(ASHLAR_DISPATCH(adamw_f64));
}

void sgd_update_all(const Exec& exec, std::span<const SgdTensor> tensors) {
  for (const auto& [update, dw, w, buffer] : tensors) sgd_update(exec, update, dw, w, buffer);
}

void adamw_update_all(const Exec& exec, std::span<const AdamWTensor> tensors) {
  for (const auto& [update, dw, w, m, v] : tensors) adamw_update(exec, update, dw, w, m, v);
}

void average_update_all(const Exec& exec, double decay, std::span<const AverageTensor> tensors) {
  for (const AverageTensor& tensor : tensors) {
    updates::check_average(tensor);
    linear_combination(exec, tensor.average, decay, tensor.w, 1 - decay, tensor.average);
  }
}

}  // namespace ashlar::kernels::cpu
#endif  // HWY_ONCE
