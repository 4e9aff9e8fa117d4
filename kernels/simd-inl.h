// Vector loads, stores, loops and functions on f64, f32 and bf16 values; included once per target (kernels/simd.h).
//
// D is a Highway tag of double or float lanes, the type of the arithmetic. Memory may hold another floating type:
// bf16 is widened on loading and rounded to nearest even on storing (NaN stays NaN).

// Highway's include guard: flips for every target.
#if defined(ASHLAR_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ASHLAR_KERNELS_SIMD_INL_H_
#undef ASHLAR_KERNELS_SIMD_INL_H_
#else
#define ASHLAR_KERNELS_SIMD_INL_H_
#endif

#include <cstring>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {  // every file has its own copy: nothing here is shared between files compiled for different targets

namespace hn = hwy::HWY_NAMESPACE;

// The tag of the arithmetic on values of types T...: f64 as soon as one of them is, otherwise f32.
template <class... T>
using Tag = hn::ScalableTag<std::conditional_t<(std::is_same_v<T, double> || ...), double, float>>;

template <class D>
constexpr Dim lanes(D d) {
  return static_cast<Dim>(hn::MaxLanes(d));  // fixed on every target that kernels/simd.h leaves
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load([[maybe_unused]] D d, const T* from) {
  if constexpr (std::is_same_v<hn::TFromD<D>, T>) {
    return hn::LoadU(d, from);
  } else if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    return hn::PromoteTo(d, load(hn::Rebind<float, D>(), from));
  } else {
    static_assert(std::is_same_v<T, bfloat16>);
    const hn::Rebind<std::uint16_t, D> d16;
    const hn::Rebind<std::uint32_t, D> d32;
    const auto upper = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from)));
    return hn::BitCast(d, hn::ShiftLeft<16>(upper));
  }
}

// Rounds to nearest; too large becomes infinite. (Highway's portable versions would stop at the largest float.)
template <class D>
HWY_INLINE auto to_float(D d, hn::Vec<D> value) {
  const hn::Rebind<float, D> df;
  if constexpr (HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128) {
    HWY_ALIGN double from[hn::MaxLanes(D())];
    HWY_ALIGN float to[hn::MaxLanes(D())];
    hn::Store(value, d, from);
    for (Dim i = 0; i < lanes(d); ++i) to[i] = static_cast<float>(from[i]);
    return hn::Load(df, to);
  } else {
    return hn::DemoteTo(df, value);
  }
}

template <class D, class T>
HWY_INLINE void store([[maybe_unused]] D d, hn::Vec<D> value, T* to) {
  if constexpr (std::is_same_v<hn::TFromD<D>, T>) {
    hn::StoreU(value, d, to);
  } else if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    store(hn::Rebind<float, D>(), to_float(d, value), to);
  } else {
    static_assert(std::is_same_v<T, bfloat16>);
    const hn::Rebind<std::uint16_t, D> d16;
    const hn::Rebind<std::uint32_t, D> d32;
    const hn::Rebind<std::int32_t, D> di32;
    const auto word = hn::BitCast(d32, value);
    const auto upper = hn::ShiftRight<16>(word);
    const auto bias = hn::Add(hn::And(upper, hn::Set(d32, 1)), hn::Set(d32, 0x7fff));
    const auto rounded = hn::ShiftRight<16>(hn::Add(word, bias));
    const auto quiet = hn::Or(upper, hn::Set(d32, 0x40));
    const auto bits = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(value)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, bits)), d16, reinterpret_cast<std::uint16_t*>(to));
  }
}

// The first `count` < lanes(d) values; the other lanes are 0.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_some(D d, const T* from, Dim count) {
  T buffer[hn::MaxLanes(d)] = {};
  for (Dim i = 0; i < count; ++i) buffer[i] = from[i];
  return load(d, buffer);
}
// The first `count` values, or as many as a vector holds; lanes beyond `count` are 0.
template <class D, class T>
HWY_INLINE hn::Vec<D> load_up_to(D d, const T* from, Dim count) {
  return count < lanes(d) ? load_some(d, from, count) : load(d, from);
}
template <class D, class T>
HWY_INLINE void store_some(D d, hn::Vec<D> value, T* to, Dim count) {
  T buffer[hn::MaxLanes(d)];
  store(d, value, buffer);
  for (Dim i = 0; i < count; ++i) to[i] = buffer[i];
}
// Lanes 0 … count − 1.
template <class D>
HWY_INLINE hn::Mask<D> first_lanes(D d, Dim count) {
  return hn::FirstN(d, static_cast<std::size_t>(count));
}

// y[i] = f(x[i]...) for i in [0, count). y may be one of the x.
template <class D, class F, class Y, class... X>
HWY_INLINE void map(D d, Dim count, const F& f, Y* y, const X*... x) {
  Dim i = 0;
  for (; i + lanes(d) <= count; i += lanes(d)) store(d, f(load(d, x + i)...), y + i);
  if (i < count) store_some(d, f(load_some(d, x + i, count - i)...), y + i, count - i);
}

template <class D>
HWY_INLINE hn::TFromD<D> sum_lanes(D d, hn::Vec<D> v) {
  return hn::GetLane(hn::SumOfLanes(d, v));
}
template <class D>
HWY_INLINE hn::TFromD<D> max_lanes(D d, hn::Vec<D> v) {
  return hn::GetLane(hn::MaxOfLanes(d, v));
}

// e^x for x ≤ 88 (f32), x ≤ 706 (f64), within 2 ulp. Results below the smallest normal number are 0; NaN stays NaN.
template <class D>
HWY_INLINE hn::Vec<D> exp(D d, hn::Vec<D> x) {
  if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
  } else {
    // x = n log(2) + r. Adding 1.5 · 2^23 rounds x / log(2) to the integer n, which then fills the low bits.
    const hn::Rebind<std::uint32_t, D> d32;
    const auto shift = hn::Set(d, 0x1.8p23f);
    const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), shift);
    const auto n = hn::Sub(shifted, shift);
    const auto r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x));
    // e^r = 1 + r + r² p(r), the polynomial of Cephes' expf (Moshier).
    const auto r2 = hn::Mul(r, r);
    const auto p01 = hn::MulAdd(r, hn::Set(d, 1.6666665459e-1f), hn::Set(d, 5.0000001201e-1f));
    const auto p23 = hn::MulAdd(r, hn::Set(d, 8.3334519073e-3f), hn::Set(d, 4.1665795894e-2f));
    const auto p45 = hn::MulAdd(r, hn::Set(d, 1.9875691500e-4f), hn::Set(d, 1.3981999507e-3f));
    const auto p = hn::MulAdd(hn::MulAdd(p45, r2, p23), r2, p01);
    const auto power = hn::Add(hn::MulAdd(p, r2, r), hn::Set(d, 1.0f));
    const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::BitCast(d32, shifted), hn::Set(d32, 127u)));
    const auto result = hn::Mul(power, hn::BitCast(d, exponent));
    return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), result);
  }
}

// σ(x) and σ'(x) = σ (1 - σ) of an x that is `negative` or not, given -|x|. With e = exp(-|x|) and r = 1 / (1 + e), σ is
// e r or r and σ' = e r²: nothing cancels and nothing overflows.
template <class D>
struct Logistic {
  hn::Vec<D> value, slope;
};
template <class D>
HWY_INLINE Logistic<D> logistic(D d, hn::Mask<D> negative, hn::Vec<D> minus_abs) {
  const auto one = hn::Set(d, 1), e = exp(d, minus_abs);
  const auto r = hn::Div(one, hn::Add(one, e)), er = hn::Mul(e, r);
  return {hn::IfThenElse(negative, er, r), hn::Mul(er, r)};
}

// x limited to [-limit, limit]; NaN stays NaN.
template <class D>
HWY_INLINE hn::Vec<D> clamp(D d, hn::Vec<D> x, hn::TFromD<D> limit) {
  const auto high = hn::Set(d, limit), low = hn::Set(d, -limit);
  return hn::IfThenElse(hn::Gt(x, high), high, hn::IfThenElse(hn::Lt(x, low), low, x));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
