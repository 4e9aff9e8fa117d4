// Softmax on the CPU. A row is read from memory once; the further passes over it find it in the caches.
#include <limits>

#include "kernels/simd.h"
#include "kernels/softmax/checks.h"
#include "kernels/softmax/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE accumulate_t<T> max_of(const T* x, Dim count) {
  const Tag<T> d;
  auto max = hn::Set(d, -std::numeric_limits<accumulate_t<T>>::infinity());
  for (Dim c = 0; c < count; c += lanes(d)) {
    max = hn::IfThenElse(first_lanes(d, count - c), hn::Max(load_up_to(d, x + c, count - c), max), max);
  }
  return max_lanes(d, max);
}

// Σ_c f(c, n), where f gives the n values from c on and what it likes in other lanes. Blocks are summed in vectors, which are
// too short to lose digits, and added up in f64.
template <class D, class F>
HWY_INLINE double sum_of(D d, Dim count, const F& f) {
  constexpr Dim kBlock = 256;
  double total = 0;
  for (Dim begin = 0; begin < count; begin += kBlock) {
    const Dim end = count - begin < kBlock ? count : begin + kBlock;
    auto sum = hn::Zero(d);
    for (Dim c = begin; c < end; c += lanes(d)) {
      sum = hn::Add(sum, hn::IfThenElseZero(first_lanes(d, end - c), f(c, end - c)));
    }
    total += static_cast<double>(sum_lanes(d, sum));
  }
  return total;
}

template <class T>
void forward_row(const T* x, T* y, Dim count) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  const auto max = hn::Set(d, max_of(x, count));
  const double sum =
      sum_of(d, count, [=](Dim c, Dim n) HWY_ATTR { return exp(d, hn::Sub(load_up_to(d, x + c, n), max)); });
  const auto factor = hn::Set(d, static_cast<A>(1 / sum));
  map(d, count, [=](auto v) HWY_ATTR { return hn::Mul(exp(d, hn::Sub(v, max)), factor); }, y, x);
}

template <class T>
void backward_row(const T* y, const T* dy, T* dx, Dim count) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  const double sum = sum_of(d, count, [=](Dim c, Dim n) HWY_ATTR {
    return hn::Mul(load_up_to(d, y + c, n), load_up_to(d, dy + c, n));
  });
  const auto dot = hn::Set(d, static_cast<A>(sum));
  map(d, count, [=](auto v, auto dv) HWY_ATTR { return hn::Mul(v, hn::Sub(dv, dot)); }, dx, y, dy);
}

void forward_rows(const ConstView& x, const View& y, Dim begin, Dim end) {
  dispatch_floating(x.dtype, "softmax_forward", [&]<class T>() HWY_ATTR {
    const Dim count = x.size(1);
    for (Dim r = begin; r < end; ++r) forward_row(x.as<T>() + r * count, y.as<T>() + r * count, count);
  });
}

void backward_rows(const ConstView& y, const ConstView& dy, const View& dx, Dim begin, Dim end) {
  dispatch_floating(y.dtype, "softmax_backward", [&]<class T>() HWY_ATTR {
    const Dim count = y.size(1);
    for (Dim r = begin; r < end; ++r) {
      backward_row(y.as<T>() + r * count, dy.as<T>() + r * count, dx.as<T>() + r * count, count);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

namespace cpu {

void softmax_forward(const Exec&, ConstView x, View y) {
  softmax::check_forward(x, y);
  const auto rows = ASHLAR_DISPATCH(forward_rows);
  parallel_for(x.size(0), row_grain(4 * x.size(1)), [&](Dim begin, Dim end) { rows(x, y, begin, end); });
}

void softmax_backward(const Exec&, ConstView y, ConstView dy, View dx) {
  softmax::check_backward(y, dy, dx);
  const auto rows = ASHLAR_DISPATCH(backward_rows);
  parallel_for(y.size(0), row_grain(2 * y.size(1)), [&](Dim begin, Dim end) { rows(y, dy, dx, begin, end); });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
