#include "kernels/attention/softmax.h"

#include <cmath>
#include <limits>

#include "kernels/small_gemm/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// exp(x) for x <= 0 (a little above for rounding), relative error below 2e-7. Results that would be subnormal are 0;
// NaN stays NaN (Highway's own Exp makes it 0, which would hide a diverged model).
// x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by the polynomial of Cephes' expf (Moshier). Adding 1.5 * 2^23 rounds
// to an integer and leaves it in the low bits, from where a shift takes it to the exponent.
template <class D, class V>
HWY_INLINE V exp_nonpositive(D d, V x, float) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), magic);
  const V n = hn::Sub(shifted, magic);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::MulAdd(r, hn::Set(d, 1.9875691500e-4f), hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto exponent = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 0x3f800000));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), hn::Mul(p, hn::BitCast(d, exponent)));
}
template <class D, class V>
HWY_INLINE V exp_nonpositive(D d, V x, double) {
  return hn::IfThenElse(hn::Eq(x, x), hn::Exp(d, x), x);
}

template <class T>
HWY_INLINE void softmax_rows(const ScoreTile<T>& tile, T* max, T* sum, T* factor) {
  const hn::ScalableTag<T> d;
  const Dim lanes = static_cast<Dim>(hn::Lanes(d));
  const T lowest = -std::numeric_limits<T>::infinity();
  for (Dim r = 0; r < tile.rows; ++r) {
    T* HWY_RESTRICT row = tile.scores + r * tile.ld;
    const Dim visible = tile.visible(r);
    const Dim whole = visible / lanes * lanes;
    const auto tail = hn::FirstN(d, static_cast<std::size_t>(visible - whole));

    auto highest = hn::Set(d, max[r]);
    for (Dim c = 0; c < whole; c += lanes) highest = hn::Max(highest, hn::Load(d, row + c));
    if (whole < visible) highest = hn::Max(highest, hn::IfThenElse(tail, hn::Load(d, row + whole), hn::Set(d, lowest)));
    highest = hn::MaxOfLanes(d, highest);
    const T new_max = hn::GetLane(highest);

    auto total = hn::Zero(d);
    for (Dim c = 0; c < whole; c += lanes) {
      const auto p = exp_nonpositive(d, hn::Sub(hn::Load(d, row + c), highest), T{});
      hn::Store(p, d, row + c);
      total = hn::Add(total, p);
    }
    Dim done = whole;
    if (whole < visible) {
      const auto p = hn::IfThenElseZero(tail, exp_nonpositive(d, hn::Sub(hn::Load(d, row + whole), highest), T{}));
      hn::Store(p, d, row + whole);
      total = hn::Add(total, p);
      done += lanes;
    }
    for (; done < tile.width; done += lanes) hn::Store(hn::Zero(d), d, row + done);

    factor[r] = max[r] == new_max ? T{1} : std::exp(max[r] - new_max);
    sum[r] = sum[r] * factor[r] + hn::GetLane(hn::SumOfLanes(d, total));
    max[r] = new_max;
  }
}

template <class T>
HWY_INLINE void gradient_rows(const ScoreTile<T>& tile, T* dp, const T* lse, const T* delta) {
  const hn::ScalableTag<T> d;
  const Dim lanes = static_cast<Dim>(hn::Lanes(d));
  for (Dim r = 0; r < tile.rows; ++r) {
    T* HWY_RESTRICT row = tile.scores + r * tile.ld;
    T* HWY_RESTRICT gradient = dp + r * tile.ld;
    const Dim visible = tile.visible(r);
    const auto lse_r = hn::Set(d, lse[r]), delta_r = hn::Set(d, delta[r]);
    for (Dim c = 0; c < tile.width; c += lanes) {
      // Hidden entries are selected away rather than multiplied by zero: their exp may overflow.
      const auto shown = hn::FirstN(d, static_cast<std::size_t>(visible > c ? visible - c : 0));
      const auto p = hn::IfThenElseZero(shown, exp_nonpositive(d, hn::Sub(hn::Load(d, row + c), lse_r), T{}));
      const auto ds = hn::IfThenElseZero(shown, hn::Mul(p, hn::Sub(hn::Load(d, gradient + c), delta_r)));
      hn::Store(p, d, row + c);
      hn::Store(ds, d, gradient + c);
    }
  }
}

void softmax_f32(const ScoreTile<float>& tile, float* max, float* sum, float* factor) {
  softmax_rows(tile, max, sum, factor);
}
void softmax_f64(const ScoreTile<double>& tile, double* max, double* sum, double* factor) {
  softmax_rows(tile, max, sum, factor);
}
void gradient_f32(const ScoreTile<float>& tile, float* dp, const float* lse, const float* delta) {
  gradient_rows(tile, dp, lse, delta);
}
void gradient_f64(const ScoreTile<double>& tile, double* dp, const double* lse, const double* delta) {
  gradient_rows(tile, dp, lse, delta);
}

}  // namespace ashlar::kernels::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels::attention {

HWY_EXPORT(softmax_f32);
HWY_EXPORT(softmax_f64);
HWY_EXPORT(gradient_f32);
HWY_EXPORT(gradient_f64);

void softmax_tile(const ScoreTile<float>& tile, float* max, float* sum, float* factor) {
  HWY_DYNAMIC_DISPATCH(softmax_f32)(tile, max, sum, factor);
}
void softmax_tile(const ScoreTile<double>& tile, double* max, double* sum, double* factor) {
  HWY_DYNAMIC_DISPATCH(softmax_f64)(tile, max, sum, factor);
}
void softmax_gradient_tile(const ScoreTile<float>& tile, float* dp, const float* lse, const float* delta) {
  HWY_DYNAMIC_DISPATCH(gradient_f32)(tile, dp, lse, delta);
}
void softmax_gradient_tile(const ScoreTile<double>& tile, double* dp, const double* lse, const double* delta) {
  HWY_DYNAMIC_DISPATCH(gradient_f64)(tile, dp, lse, delta);
}

}  // namespace ashlar::kernels::attention
#endif
