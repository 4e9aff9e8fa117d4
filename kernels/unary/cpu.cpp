// Functions of one value on the CPU: one pass; the arithmetic on bf16 is in f32.
#include <limits>
#include <numbers>

#include "kernels/checks.h"
#include "kernels/simd.h"
#include "kernels/unary/unary.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/unary/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class D>
HWY_INLINE Logistic<D> logistic(D d, hn::Vec<D> x) {
  return logistic(d, hn::Lt(x, hn::Zero(d)), hn::Neg(hn::Abs(x)));
}

// x factor, but 0 where the factor is: the factor of an infinite x tends to 0 faster than 1 / x.
template <class D>
HWY_INLINE hn::Vec<D> times_unless_zero(D d, hn::Vec<D> x, hn::Vec<D> factor) {
  return hn::IfThenZeroElse(hn::Eq(factor, hn::Zero(d)), hn::Mul(x, factor));
}

// e^x for every x. `exp` stops short of the largest x: beyond it, e^x = e⁴ e^(x - 4), a difference without rounding.
template <class D>
HWY_INLINE hn::Vec<D> exp_of_any(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  constexpr T kLast = sizeof(T) == 8 ? 706 : 88, kStep = 4;  // e^(kLast + kStep) is infinite
  const auto beyond = hn::Gt(x, hn::Set(d, kLast));
  const auto reduced = hn::Sub(hn::Min(x, hn::Set(d, kLast + kStep)), hn::Set(d, kStep));
  const auto y = exp(d, hn::IfThenElse(beyond, reduced, x));
  constexpr double kFactor = std::numbers::e * std::numbers::e * std::numbers::e * std::numbers::e;
  return hn::IfThenElse(beyond, hn::Mul(y, hn::Set(d, static_cast<T>(kFactor))), y);
}

template <class D>
HWY_INLINE hn::Vec<D> log_of_any(D d, hn::Vec<D> x) {
  using Limits = std::numeric_limits<hn::TFromD<D>>;
  const auto zero = hn::Zero(d), infinity = hn::Set(d, Limits::infinity());
  const auto negative = hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, Limits::quiet_NaN()), x);  // or NaN, or infinity
  const auto special = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), negative);
  return hn::IfThenElse(hn::And(hn::Gt(x, zero), hn::Lt(x, infinity)), hn::Log(d, x), special);
}

template <class T>
void forward_of(Unary kind, const T* x, T* y, Dim count) {
  const Tag<T> d;
  switch (kind) {
    case Unary::relu:
      return map(d, count, [d](auto v) HWY_ATTR { return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v); }, y, x);
    case Unary::sigmoid: return map(d, count, [d](auto v) HWY_ATTR { return logistic(d, v).value; }, y, x);
    case Unary::silu:
      return map(d, count, [d](auto v) HWY_ATTR { return times_unless_zero(d, v, logistic(d, v).value); }, y, x);
    case Unary::tanh: return map(d, count, [d](auto v) HWY_ATTR { return hn::Tanh(d, v); }, y, x);
    case Unary::exp: return map(d, count, [d](auto v) HWY_ATTR { return exp_of_any(d, v); }, y, x);
    case Unary::log: return map(d, count, [d](auto v) HWY_ATTR { return log_of_any(d, v); }, y, x);
    case Unary::sqrt: return map(d, count, [](auto v) HWY_ATTR { return hn::Sqrt(v); }, y, x);
  }
}

template <class T>
void backward_of(Unary kind, const T* x, const T* dy, T* dx, Dim count) {
  const Tag<T> d;
  const auto run = [=](const auto& f) HWY_ATTR { map(d, count, f, dx, x, dy); };
  switch (kind) {
    case Unary::relu:
      return run([d](auto v, auto dv) HWY_ATTR { return hn::IfThenZeroElse(hn::Le(v, hn::Zero(d)), dv); });
    case Unary::sigmoid: return run([d](auto v, auto dv) HWY_ATTR { return hn::Mul(dv, logistic(d, v).slope); });
    case Unary::silu:
      return run([d](auto v, auto dv) HWY_ATTR {
        const auto sigma = logistic(d, v);
        return hn::Mul(dv, hn::Add(sigma.value, times_unless_zero(d, v, sigma.slope)));
      });
    case Unary::tanh:  // tanh(x) = 2 σ(2x) - 1
      return run([d](auto v, auto dv) HWY_ATTR {
        return hn::Mul(dv, hn::Mul(hn::Set(d, 4), logistic(d, hn::Add(v, v)).slope));
      });
    case Unary::exp: return run([d](auto v, auto dv) HWY_ATTR { return hn::Mul(dv, exp_of_any(d, v)); });
    case Unary::log: return run([](auto v, auto dv) HWY_ATTR { return hn::Div(dv, v); });
    case Unary::sqrt:
      return run([](auto v, auto dv) HWY_ATTR {
        const auto root = hn::Sqrt(v);
        return hn::Div(dv, hn::Add(root, root));
      });
  }
}

void forward_range(DType dtype, Unary kind, const void* x, void* y, Dim count) {
  dispatch_floating(dtype, "unary_forward", [=]<class T>() HWY_ATTR {
    forward_of(kind, static_cast<const T*>(x), static_cast<T*>(y), count);
  });
}

void backward_range(DType dtype, Unary kind, const void* x, const void* dy, void* dx, Dim count) {
  dispatch_floating(dtype, "unary_backward", [=]<class T>() HWY_ATTR {
    backward_of(kind, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx), count);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(forward_range);
HWY_EXPORT(backward_range);

namespace cpu {
namespace {
constexpr Dim kUnaryGrain = kGrain / 4;  // an exponential and a division cost several memory accesses
}

void unary_forward(const Exec&, ConstView x, Unary kind, View y) {
  check_like("unary_forward", x, "y", y);
  const auto range = ASHLAR_DISPATCH(forward_range);
  parallel_for(x.numel(), kUnaryGrain, [&](Dim begin, Dim end) {
    range(x.dtype, kind, advance(x.data, x.dtype, begin), advance(y.data, x.dtype, begin), end - begin);
  });
}

void unary_backward(const Exec&, ConstView x, ConstView dy, Unary kind, View dx) {
  check_like("unary_backward", x, "dy", dy);
  check_like("unary_backward", x, "dx", dx);
  const auto range = ASHLAR_DISPATCH(backward_range);
  parallel_for(x.numel(), kUnaryGrain, [&](Dim begin, Dim end) {
    range(x.dtype, kind, advance(x.data, x.dtype, begin), advance(dy.data, x.dtype, begin),
          advance(dx.data, x.dtype, begin), end - begin);
  });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
