// GELU on CUDA, limited by memory. gelu(x) = x p; the derivative of either formula is p + x p'.
#include <numbers>

#include "kernels/device.cuh"
#include "kernels/gelu/checks.h"
#include "kernels/gelu/gelu.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

template <Gelu kind, class A>
struct Gate {
  A p, slope;  // slope = x p'

  __device__ explicit Gate(A x) {
    if constexpr (kind == Gelu::tanh) {
      // p = (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), u = sqrt(2/π) (x + a x³), p' = 2 u' p (1 - p). Beyond ±15 (±40 in
      // f64) p is 0 or 1 to the last bit, but intermediate powers would overflow.
      constexpr A bound = sizeof(A) == 8 ? 40 : 15, a = static_cast<A>(0.044715);
      constexpr A twice = static_cast<A>(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      const A v = min(max(x, -bound), bound), v2 = v * v;
      const A e = exp(-twice * abs(v) * (1 + a * v2)), r = 1 / (1 + e);
      p = v < 0 ? e * r : r;
      slope = twice * v * (1 + 3 * a * v2) * (e * r * r);
    } else {
      // p = Φ(x), x p' = x φ(x)
      constexpr A density = static_cast<A>(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      p = static_cast<A>(0.5) * erfc(-x * static_cast<A>(1 / std::numbers::sqrt2));
      slope = x * density * exp(static_cast<A>(-0.5) * x * x);
    }
  }
};

template <Gelu kind, class A>
struct Forward {
  __device__ A operator()(A x) const { return x * Gate<kind, A>(x).p; }
};
template <Gelu kind, class A>
struct Backward {
  __device__ A operator()(A x, A dy) const {
    const Gate<kind, A> gate(x);
    return dy * (gate.p + gate.slope);
  }
};

}  // namespace

void gelu_forward(const Exec& exec, ConstView x, Gelu kind, View y) {
  gelu::check("gelu_forward", x, y);
  dispatch_floating(x.dtype, "gelu_forward", [&]<class T>() {
    using A = accumulate_t<T>;
    if (kind == Gelu::tanh) map(exec, x.numel(), Forward<Gelu::tanh, A>{}, y.as<T>(), x.as<T>());
    else map(exec, x.numel(), Forward<Gelu::erf, A>{}, y.as<T>(), x.as<T>());
  });
}

void gelu_backward(const Exec& exec, ConstView x, ConstView dy, Gelu kind, View dx) {
  gelu::check("gelu_backward", x, dy);
  gelu::check("gelu_backward", x, dx);
  dispatch_floating(x.dtype, "gelu_backward", [&]<class T>() {
    using A = accumulate_t<T>;
    if (kind == Gelu::tanh) map(exec, x.numel(), Backward<Gelu::tanh, A>{}, dx.as<T>(), x.as<T>(), dy.as<T>());
    else map(exec, x.numel(), Backward<Gelu::erf, A>{}, dx.as<T>(), x.as<T>(), dy.as<T>());
  });
}

}  // namespace ashlar::kernels::cuda
