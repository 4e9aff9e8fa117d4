// GELU on the CPU: one pass, one exponential a value, or for bf16 a table.
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/checks.h"
#include "kernels/gelu/gelu.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gelu/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// gelu(x) = x p. The derivative of either formula is p + x p', so both need (p, x p').
template <class D>
struct Gate {
  hn::Vec<D> p, slope;  // slope = x p'; only computed when asked for
};

// Beyond ±kSaturated p is 0 or 1 and x p' is 0, to the last bit of the type, but intermediate powers would overflow.
template <class T>
constexpr T kSaturated = sizeof(T) == 8 ? 40 : 15;

// p = (1 + tanh(u)) / 2 = σ(2u), u = sqrt(2/π) (x + a x³), and p' = 2 u' σ'(2u).
template <bool with_slope, class D>
HWY_INLINE Gate<D> gate_tanh(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  constexpr T a = static_cast<T>(0.044715);
  constexpr T twice = static_cast<T>(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);  // 2 sqrt(2/π)
  x = clamp(d, x, kSaturated<T>);
  const auto x2 = hn::Mul(x, x);
  const auto minus_2u = hn::Mul(hn::Abs(x), hn::MulAdd(x2, hn::Set(d, -twice * a), hn::Set(d, -twice)));
  const auto [p, p_slope] = logistic(d, hn::Lt(x, hn::Zero(d)), minus_2u);
  if constexpr (!with_slope) return {p, p};
  const auto u_slope = hn::Mul(x, hn::MulAdd(x2, hn::Set(d, 3 * twice * a), hn::Set(d, twice)));  // 2 x u'
  return {p, hn::Mul(u_slope, p_slope)};
}

// p = Φ(x), x p' = x φ(x). With z = |x| / sqrt 2: Φ(-|x|) = exp(-z²) erfcx(z) / 2, so one exponential serves both.
// erfcx(z) = t (c0 + c1 t + … + c8 t⁸), t = 1 / (1 + 0.375 z): minimax fit, relative error 1.5e-8.
template <bool with_slope>
HWY_INLINE Gate<hn::ScalableTag<float>> gate_erf(hn::ScalableTag<float> d, hn::Vec<hn::ScalableTag<float>> x) {
  constexpr float c[] = {0.21161035f,  0.21070383f, 0.20491841f,  0.12308792f, 0.26990653f,
                         -0.22372510f, 0.42727594f, -0.28477462f, 0.060996724f};
  const auto one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f);
  x = clamp(d, x, kSaturated<float>);
  const auto z = hn::Mul(hn::Abs(x), hn::Set(d, static_cast<float>(1 / std::numbers::sqrt2)));
  const auto gauss = exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  const auto t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.375f), one));
  auto erfcx = hn::Set(d, c[8]);
  for (int k = 7; k >= 0; --k) erfcx = hn::MulAdd(erfcx, t, hn::Set(d, c[k]));
  const auto tail = hn::Mul(hn::Mul(erfcx, t), hn::Mul(gauss, half));
  const auto p = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail));
  if constexpr (!with_slope) return {p, p};
  constexpr double density = std::numbers::inv_sqrtpi / std::numbers::sqrt2;  // φ(0)
  return {p, hn::Mul(hn::Mul(x, hn::Set(d, static_cast<float>(density))), gauss)};
}

// The same in f64, for gradient checks: accurate to the last bits, lane by lane.
template <bool with_slope>
HWY_INLINE Gate<hn::ScalableTag<double>> gate_erf(hn::ScalableTag<double> d, hn::Vec<hn::ScalableTag<double>> x) {
  HWY_ALIGN double lane[hn::MaxLanes(d)], slope[hn::MaxLanes(d)];
  hn::Store(x, d, lane);
  for (Dim i = 0; i < lanes(d); ++i) {
    const double value = lane[i];
    lane[i] = 0.5 * std::erfc(-value / std::numbers::sqrt2);
    if (with_slope) {
      slope[i] = value * std::exp(-0.5 * value * value) * (std::numbers::inv_sqrtpi / std::numbers::sqrt2);
    }
  }
  const auto p = hn::Load(d, lane);
  if constexpr (!with_slope) return {p, p};
  return {p, hn::Load(d, slope)};
}

template <Gelu kind, bool with_slope, class D>
HWY_INLINE Gate<D> gate(D d, hn::Vec<D> x) {
  if constexpr (kind == Gelu::tanh) return gate_tanh<with_slope>(d, x);
  else return gate_erf<with_slope>(d, x);
}

template <Gelu kind, class T>
void forward_of(const T* x, T* y, Dim count) {
  const Tag<T> d;
  map(d, count, [d](auto v) HWY_ATTR { return hn::Mul(v, gate<kind, false>(d, v).p); }, y, x);
}

template <Gelu kind, class T>
void backward_of(const T* x, const T* dy, T* dx, Dim count) {
  const Tag<T> d;
  const auto gradient = [d](auto v, auto dv) HWY_ATTR {
    const auto g = gate<kind, true>(d, v);
    return hn::Mul(dv, hn::Add(g.p, g.slope));
  };
  map(d, count, gradient, dx, x, dy);
}

// dx = dy slope[bits of x]. The slopes of a block are gathered before they are multiplied: a vector cannot be loaded soon after
// its elements have been stored.
void backward_by_table(const float* slope, const bfloat16* x, const bfloat16* dy, bfloat16* dx, Dim count) {
  constexpr Dim kBlock = 256;
  const Tag<bfloat16> d;
  HWY_ALIGN float gathered[kBlock];
  for (Dim begin = 0; begin < count; begin += kBlock) {
    const Dim size = count - begin < kBlock ? count - begin : kBlock;
    for (Dim i = 0; i < size; ++i) gathered[i] = slope[x[begin + i].bits];
    map(d, size, [](auto s, auto g) HWY_ATTR { return hn::Mul(s, g); }, dx + begin, gathered, dy + begin);
  }
}

// The tables are those of all values of bf16, by their bits; other dtypes need none.
void forward_range(DType dtype, Gelu kind, const bfloat16* table, const void* x, void* y, Dim count) {
  dispatch_floating(dtype, "gelu_forward", [=]<class T>() HWY_ATTR {
    const T* const from = static_cast<const T*>(x);
    T* const to = static_cast<T*>(y);
    if constexpr (std::is_same_v<T, bfloat16>) {
      for (Dim i = 0; i < count; ++i) to[i] = table[from[i].bits];
    } else if (kind == Gelu::tanh) {
      forward_of<Gelu::tanh>(from, to, count);
    } else {
      forward_of<Gelu::erf>(from, to, count);
    }
  });
}

void backward_range(DType dtype, Gelu kind, const float* slopes, const void* x, const void* dy, void* dx, Dim count) {
  dispatch_floating(dtype, "gelu_backward", [=]<class T>() HWY_ATTR {
    const T *const at = static_cast<const T*>(x), *const from = static_cast<const T*>(dy);
    T* const to = static_cast<T*>(dx);
    if constexpr (std::is_same_v<T, bfloat16>) backward_by_table(slopes, at, from, to, count);
    else if (kind == Gelu::tanh) backward_of<Gelu::tanh>(at, from, to, count);
    else backward_of<Gelu::erf>(at, from, to, count);
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

constexpr Dim kGeluGrain = kGrain / 4;  // an exponential and a division cost several memory accesses

// Both functions of all values of bf16, by their bits. The values of a training step lie within a few powers of two, which
// leaves their part of a table in the first-level cache, and finding them there takes half the time of computing them or less.
struct Table {
  std::vector<bfloat16> values;
  std::vector<float> slopes;
  explicit Table(Gelu kind) {
    constexpr std::uint32_t kCount = 1 << 16;
    std::vector<float> x(kCount), y(kCount), ones(kCount, 1.0f);
    for (std::uint32_t bits = 0; bits < kCount; ++bits) x[bits] = std::bit_cast<float>(bits << 16);
    slopes.resize(kCount);
    ASHLAR_DISPATCH(forward_range)(DType::f32, kind, nullptr, x.data(), y.data(), kCount);
    ASHLAR_DISPATCH(backward_range)(DType::f32, kind, nullptr, x.data(), ones.data(), slopes.data(), kCount);
    for (const float value : y) values.emplace_back(value);
  }
};
const Table& table_of(Gelu kind) {
  if (kind == Gelu::tanh) {
    static const Table tanh(Gelu::tanh);
    return tanh;
  }
  static const Table erf(Gelu::erf);
  return erf;
}

}  // namespace

void gelu_forward(const Exec&, ConstView x, Gelu kind, View y) {
  check_like("gelu_forward", x, "y", y);
  const auto range = ASHLAR_DISPATCH(forward_range);
  const bfloat16* const table = x.dtype == DType::bf16 ? table_of(kind).values.data() : nullptr;
  parallel_for(x.numel(), kGeluGrain, [&](Dim begin, Dim end) {
    range(x.dtype, kind, table, advance(x.data, x.dtype, begin), advance(y.data, x.dtype, begin), end - begin);
  });
}

void gelu_backward(const Exec&, ConstView x, ConstView dy, Gelu kind, View dx) {
  check_like("gelu_backward", x, "dy", dy);
  check_like("gelu_backward", x, "dx", dx);
  const auto range = ASHLAR_DISPATCH(backward_range);
  const float* const slopes = x.dtype == DType::bf16 ? table_of(kind).slopes.data() : nullptr;
  parallel_for(x.numel(), kGeluGrain, [&](Dim begin, Dim end) {
    range(x.dtype, kind, slopes, advance(x.data, x.dtype, begin), advance(dy.data, x.dtype, begin),
          advance(dx.data, x.dtype, begin), end - begin);
  });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
