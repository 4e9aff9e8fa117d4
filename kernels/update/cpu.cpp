// Optimizer updates on the CPU: limited by memory, so everything is done in the one pass.
#include "core/rounding.h"
#include "kernels/update/update.h"

#include <array>
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

// Of the elements [begin, begin + count) of a tensor.
template <class T>
void sgd(const SgdTensor& p, Dim begin, Dim count) {
  const T* const dw = p.dw.as<T>() + begin;
  T *const w = p.w.as<T>() + begin, *const buffer = p.buffer ? p.buffer.as<T>() + begin : nullptr;
  const hn::ScalableTag<T> d;
  const auto lr = hn::Set(d, static_cast<T>(-p.numbers.as<double>()[0]));
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
void adamw(const AdamWTensor& p, Dim begin, Dim count) {
  const T* const dw = p.dw.as<T>() + begin;
  const std::array state{p.w.as<T>() + begin, p.m.as<T>() + begin, p.v.as<T>() + begin};
  const double* const numbers = p.numbers.as<double>();
  const hn::ScalableTag<T> d;
  const auto keep = hn::Set(d, static_cast<T>(numbers[0]));
  const auto step_size = hn::Set(d, static_cast<T>(-numbers[1]));
  const auto v_scale = hn::Set(d, static_cast<T>(numbers[2]));
  const auto scale = hn::Set(d, static_cast<T>(p.grad_scale));
  const auto eps = hn::Set(d, static_cast<T>(p.eps));
  const auto new1 = hn::Set(d, static_cast<T>(1 - p.beta1));
  const auto beta2 = hn::Set(d, static_cast<T>(p.beta2)), new2 = hn::Set(d, static_cast<T>(1 - p.beta2));
  for_each_vector(count, dw, state, [&](const T* dw_at, const std::array<T*, 3>& at) HWY_ATTR {
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
void sgd_f32(const SgdTensor& p, Dim begin, Dim count) { sgd<float>(p, begin, count); }
void sgd_f64(const SgdTensor& p, Dim begin, Dim count) { sgd<double>(p, begin, count); }
void adamw_f32(const AdamWTensor& p, Dim begin, Dim count) { adamw<float>(p, begin, count); }
void adamw_f64(const AdamWTensor& p, Dim begin, Dim count) { adamw<double>(p, begin, count); }

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

// kernel(tensor, begin, count) on ranges that cover each tensor.
template <class Tensor, class Kernel>
void update(std::span<const Tensor> tensors, const Kernel& f32, const Kernel& f64) {
  for (const Tensor& tensor : tensors) updates::check(tensor);
  for (const Tensor& tensor : tensors) {
    const Kernel& kernel = tensor.w.dtype == DType::f32 ? f32 : f64;
    const Dim total = tensor.w.numel();
    parallel_for(ceil_div(total, kBlock), kGrain / kBlock, [&](Dim first, Dim last) {
      kernel(tensor, first * kBlock, std::min(total, last * kBlock) - first * kBlock);
    });
  }
}

}  // namespace

void sgd_update(const Exec&, std::span<const SgdTensor> tensors) {
  update(tensors, ASHLAR_DISPATCH(sgd_f32), ASHLAR_DISPATCH(sgd_f64));
}

void adamw_update(const Exec&, std::span<const AdamWTensor> tensors) {
  update(tensors, ASHLAR_DISPATCH(adamw_f32), ASHLAR_DISPATCH(adamw_f64));
}

void ema_update(const Exec&, double decay, std::span<const EmaTensor> tensors) {
  for (const EmaTensor& tensor : tensors) updates::check(tensor);
  for (const EmaTensor& tensor : tensors) {
    linear_combination({}, tensor.average, decay, tensor.w, 1 - decay, tensor.average);
  }
}

}  // namespace ashlar::kernels::cpu
#endif  // HWY_ONCE
