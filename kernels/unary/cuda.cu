// Functions of one value on CUDA, limited by memory. The kind is known to the host alone: a kernel for each of them would
// take seven times as long to compile, and all threads take one way through the switch.
#include "kernels/checks.h"
#include "kernels/device.cuh"
#include "kernels/logistic.cuh"
#include "kernels/unary/unary.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// x factor, but 0 where the factor is: the factor of an infinite x tends to 0 faster than 1 / x.
template <class A>
__device__ A times_unless_zero(A x, A factor) {
  return factor == 0 ? A{0} : x * factor;
}

template <class A>
struct Forward {
  Unary kind;

  __device__ A operator()(A x) const {
    switch (kind) {
      case Unary::relu: return x < 0 ? A{0} : x;
      case Unary::sigmoid: return Logistic<A>(x).value;
      case Unary::silu: return times_unless_zero(x, Logistic<A>(x).value);
      case Unary::tanh: return tanh(x);
      case Unary::exp: return exp(x);
      case Unary::log: return log(x);
      case Unary::sqrt: return sqrt(x);
    }
    return x;
  }
};

template <class A>
struct Backward {
  Unary kind;

  __device__ A operator()(A x, A dy) const {
    switch (kind) {
      case Unary::relu: return x <= 0 ? A{0} : dy;
      case Unary::sigmoid: return dy * Logistic<A>(x).slope;
      case Unary::silu: {
        const Logistic<A> sigma(x);
        return dy * (sigma.value + times_unless_zero(x, sigma.slope));
      }
      case Unary::tanh: return dy * (4 * Logistic<A>(2 * x).slope);  // tanh(x) = 2 σ(2x) - 1
      case Unary::exp: return dy * exp(x);
      case Unary::log: return dy / x;
      case Unary::sqrt: return dy / (2 * sqrt(x));
    }
    return dy;
  }
};

}  // namespace

void unary_forward(const Exec& exec, ConstView x, Unary kind, View y) {
  check_like("unary_forward", x, "y", y);
  dispatch_floating(x.dtype, "unary_forward", [&]<class T>() {
    map(exec, x.numel(), Forward<accumulate_t<T>>{kind}, y.as<T>(), x.as<T>());
  });
}

void unary_backward(const Exec& exec, ConstView x, ConstView dy, Unary kind, View dx) {
  check_like("unary_backward", x, "dy", dy);
  check_like("unary_backward", x, "dx", dx);
  dispatch_floating(x.dtype, "unary_backward", [&]<class T>() {
    map(exec, x.numel(), Backward<accumulate_t<T>>{kind}, dx.as<T>(), x.as<T>(), dy.as<T>());
  });
}

}  // namespace ashlar::kernels::cuda
