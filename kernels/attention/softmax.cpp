#include "kernels/attention/softmax.h"

#include <cmath>
#include <limits>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/softmax.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

using attention::ScoreTile;

template <class T>
HWY_INLINE void softmax_rows(const ScoreTile<T>& tile, T* max, T* sum, T* factor) {
  const Tag<T> d;
  const auto scale = hn::Set(d, tile.scale), lowest = hn::Set(d, -std::numeric_limits<T>::infinity());
  for (Dim r = 0; r < tile.rows; ++r) {
    T* HWY_RESTRICT row = tile.scores + r * tile.ld;
    const Dim visible = tile.visible(r), whole = visible / lanes(d) * lanes(d);
    const auto tail = first_lanes(d, visible - whole);

    auto highest = hn::Set(d, max[r]);
    for (Dim c = 0; c < whole; c += lanes(d)) highest = hn::Max(highest, hn::Mul(scale, hn::Load(d, row + c)));
    if (whole < visible) {
      highest = hn::Max(highest, hn::IfThenElse(tail, hn::Mul(scale, hn::Load(d, row + whole)), lowest));
    }
    highest = hn::MaxOfLanes(d, highest);
    const T new_max = hn::GetLane(highest);

    auto total = hn::Zero(d);
    for (Dim c = 0; c < whole; c += lanes(d)) {
      const auto p = exp(d, hn::MulSub(scale, hn::Load(d, row + c), highest));
      hn::Store(p, d, row + c);
      total = hn::Add(total, p);
    }
    Dim done = whole;
    if (whole < visible) {
      const auto p = hn::IfThenElseZero(tail, exp(d, hn::MulSub(scale, hn::Load(d, row + whole), highest)));
      hn::Store(p, d, row + whole);
      total = hn::Add(total, p);
      done += lanes(d);
    }
    for (; done < tile.width; done += lanes(d)) hn::Store(hn::Zero(d), d, row + done);

    factor[r] = max[r] == new_max ? T{1} : std::exp(max[r] - new_max);
    sum[r] = sum[r] * factor[r] + sum_lanes(d, total);
    max[r] = new_max;
  }
}

template <class T>
HWY_INLINE void gradient_rows(const ScoreTile<T>& tile, T* dp, const T* lse, const T* delta) {
  const Tag<T> d;
  const auto scale = hn::Set(d, tile.scale);
  for (Dim r = 0; r < tile.rows; ++r) {
    T* HWY_RESTRICT row = tile.scores + r * tile.ld;
    T* HWY_RESTRICT gradient = dp + r * tile.ld;
    const Dim visible = tile.visible(r);
    const auto lse_r = hn::Set(d, lse[r]), delta_r = hn::Set(d, delta[r]);
    for (Dim c = 0; c < tile.width; c += lanes(d)) {
      // Hidden entries are selected away rather than multiplied by zero: their exp may overflow.
      const auto shown = first_lanes(d, visible > c ? visible - c : 0);
      const auto p = hn::IfThenElseZero(shown, exp(d, hn::MulSub(scale, hn::Load(d, row + c), lse_r)));
      const auto ds = hn::IfThenElseZero(shown, hn::Mul(p, hn::Sub(hn::Load(d, gradient + c), delta_r)));
      hn::Store(p, d, row + c);
      hn::Store(ds, d, gradient + c);
    }
  }
}

template <class T>
HWY_INLINE void dots_of_rows(const T* a, Dim ld_a, const T* b, Dim ld_b, Dim rows, Dim columns, accumulate_t<T>* dots) {
  const Tag<T> d;
  for (Dim r = 0; r < rows; ++r, a += ld_a, b += ld_b) {
    auto sum = hn::Zero(d);
    Dim c = 0;
    for (; c + lanes(d) <= columns; c += lanes(d)) sum = hn::MulAdd(load(d, a + c), load(d, b + c), sum);
    if (c < columns) sum = hn::MulAdd(load_some(d, a + c, columns - c), load_some(d, b + c, columns - c), sum);
    dots[r] = sum_lanes(d, sum);
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
void dots_f64(const double* a, Dim ld_a, const double* b, Dim ld_b, Dim rows, Dim columns, double* dots) {
  dots_of_rows(a, ld_a, b, ld_b, rows, columns, dots);
}
void dots_f32(const float* a, Dim ld_a, const float* b, Dim ld_b, Dim rows, Dim columns, float* dots) {
  dots_of_rows(a, ld_a, b, ld_b, rows, columns, dots);
}
void dots_bf16(const bfloat16* a, Dim ld_a, const bfloat16* b, Dim ld_b, Dim rows, Dim columns, float* dots) {
  dots_of_rows(a, ld_a, b, ld_b, rows, columns, dots);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(softmax_f32);
HWY_EXPORT(softmax_f64);
HWY_EXPORT(gradient_f32);
HWY_EXPORT(gradient_f64);
HWY_EXPORT(dots_f64);
HWY_EXPORT(dots_f32);
HWY_EXPORT(dots_bf16);

namespace attention {

void softmax_tile(const ScoreTile<float>& tile, float* max, float* sum, float* factor) {
  ASHLAR_DISPATCH(softmax_f32)(tile, max, sum, factor);
}
void softmax_tile(const ScoreTile<double>& tile, double* max, double* sum, double* factor) {
  ASHLAR_DISPATCH(softmax_f64)(tile, max, sum, factor);
}
void softmax_gradient_tile(const ScoreTile<float>& tile, float* dp, const float* lse, const float* delta) {
  ASHLAR_DISPATCH(gradient_f32)(tile, dp, lse, delta);
}
void softmax_gradient_tile(const ScoreTile<double>& tile, double* dp, const double* lse, const double* delta) {
  ASHLAR_DISPATCH(gradient_f64)(tile, dp, lse, delta);
}
void row_dots(const double* a, Dim ld_a, const double* b, Dim ld_b, Dim rows, Dim columns, double* dots) {
  ASHLAR_DISPATCH(dots_f64)(a, ld_a, b, ld_b, rows, columns, dots);
}
void row_dots(const float* a, Dim ld_a, const float* b, Dim ld_b, Dim rows, Dim columns, float* dots) {
  ASHLAR_DISPATCH(dots_f32)(a, ld_a, b, ld_b, rows, columns, dots);
}
void row_dots(const bfloat16* a, Dim ld_a, const bfloat16* b, Dim ld_b, Dim rows, Dim columns, float* dots) {
  ASHLAR_DISPATCH(dots_bf16)(a, ld_a, b, ld_b, rows, columns, dots);
}

}  // namespace attention
}  // namespace ashlar::kernels
#endif
