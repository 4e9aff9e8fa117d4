// GELU on CUDA, limited by memory. gelu(x) = x p; the derivative of either formula is p + x p'.
#include <numbers>

#include "kernels/checks.h"
#include "kernels/device.cuh"
#include "kernels/gelu/gelu.h"
#include "kernels/logistic.cuh"
#include "kernels/ptx.cuh"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// x limited to [-limit, limit]. NaN stays NaN, which min and max would replace.
template <class A>
__device__ A clamp(A x, A limit) {
  return x < -limit ? -limit : x > limit ? limit : x;
}

template <Gelu kind, class A>
struct Gate {
  A p, slope;  // slope = x p'

  __device__ explicit Gate(A x) {
    if constexpr (kind == Gelu::tanh) {
      // p = (1 + tanh(u)) / 2 = σ(2u), u = sqrt(2/π) (x + a x³), p' = 2 u' σ'(2u). Beyond ±15 (±40 in f64) p is 0 or 1 to
      // the last bit, but intermediate powers would overflow.
      constexpr A limit = sizeof(A) == 8 ? 40 : 15, a = static_cast<A>(0.044715);
      constexpr A twice = static_cast<A>(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      const A v = clamp(x, limit), v2 = v * v;
      const Logistic<A> sigma(twice * v * (1 + a * v2));
      p = sigma.value;
      slope = twice * v * (1 + 3 * a * v2) * sigma.slope;
    } else {
      // p = Φ(x), x p' = x φ(x)
      constexpr A density = static_cast<A>(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      p = static_cast<A>(0.5) * erfc(-x * static_cast<A>(1 / std::numbers::sqrt2));
      slope = x * density * exp(static_cast<A>(-0.5) * x * x);
    }
  }
};

// The same for values of bf16, with the hardware's own exponential and reciprocal: with the library's functions the
// arithmetic takes longer than the memory. Φ by Abramowitz and Stegun 7.1.26, whose relative error is below that of bf16
// where Φ > 1e-7.
template <Gelu kind>
struct HardwareGate {
  float p, slope;

  __device__ explicit HardwareGate(float x) {
    constexpr float kLog2E = std::numbers::log2e_v<float>;
    if constexpr (kind == Gelu::tanh) {
      constexpr float a = 0.044715f, twice = static_cast<float>(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      const float v = clamp(x, 15.0f), v2 = v * v;
      p = ptx::reciprocal_approximate(1 + ptx::exp2_approximate(-twice * kLog2E * v * (1 + a * v2)));
      slope = twice * v * (1 + 3 * a * v2) * p * (1 - p);
    } else {
      constexpr float density = static_cast<float>(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      const float z = abs(x) * static_cast<float>(1 / std::numbers::sqrt2), bell = ptx::exp2_approximate(-kLog2E * z * z);
      const float t = ptx::reciprocal_approximate(1 + 0.3275911f * z);
      const float sum = 0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)));
      const float tail = 0.5f * t * sum * bell;  // Φ(-|x|)
      p = x < 0 ? tail : 1 - tail;
      slope = x * density * bell;
    }
  }
};

template <Gelu kind, class T>
using GateOf = std::conditional_t<std::is_same_v<T, bfloat16>, HardwareGate<kind>, Gate<kind, accumulate_t<T>>>;

template <Gelu kind, class T>
struct Forward {
  using A = accumulate_t<T>;
  __device__ A operator()(A x) const { return x * GateOf<kind, T>(x).p; }
};
template <Gelu kind, class T>
struct Backward {
  using A = accumulate_t<T>;
  __device__ A operator()(A x, A dy) const {
    const GateOf<kind, T> gate(x);
    return dy * (gate.p + gate.slope);
  }
};

}  // namespace

void gelu_forward(const Exec& exec, ConstView x, Gelu kind, View y) {
  check_like("gelu_forward", x, "y", y);
  dispatch_floating(x.dtype, "gelu_forward", [&]<class T>() {
    if (kind == Gelu::tanh) map(exec, x.numel(), Forward<Gelu::tanh, T>{}, y.as<T>(), x.as<T>());
    else map(exec, x.numel(), Forward<Gelu::erf, T>{}, y.as<T>(), x.as<T>());
  });
}

void gelu_backward(const Exec& exec, ConstView x, ConstView dy, Gelu kind, View dx) {
  check_like("gelu_backward", x, "dy", dy);
  check_like("gelu_backward", x, "dx", dx);
  dispatch_floating(x.dtype, "gelu_backward", [&]<class T>() {
    if (kind == Gelu::tanh) map(exec, x.numel(), Backward<Gelu::tanh, T>{}, dx.as<T>(), x.as<T>(), dy.as<T>());
    else map(exec, x.numel(), Backward<Gelu::erf, T>{}, dx.as<T>(), x.as<T>(), dy.as<T>());
  });
}

}  // namespace ashlar::kernels::cuda
