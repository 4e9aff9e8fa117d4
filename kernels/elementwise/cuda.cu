// Elementwise work on CUDA. What is contiguous goes by in vectors; other layouts are walked row by row (core/strided.h).
#include "core/strided.h"
#include "kernels/device.cuh"
#include "kernels/elementwise/checks.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace elementwise;

template <class A>
struct LinearCombination {
  A alpha, beta;
  __device__ A operator()(A a, A b) const { return alpha * a + beta * b; }
};
template <class A>
struct Product {
  __device__ A operator()(A a, A b) const { return a * b; }
};
template <class A>
struct Quotient {
  __device__ A operator()(A a, A b) const { return a / b; }
};
template <class A>
struct TimesValue {
  const A* factor;
  __device__ A operator()(A a) const { return a * *factor; }
};
template <class A>
struct Affine {
  A alpha, beta;
  __device__ A operator()(A x, A) const { return alpha * x + beta; }
};

// By rows that count packs of N values.
template <int N, class F, class A, class B, class Y>
__global__ void strided_rows(StridedRows<3> rows, F f, const A* a, const B* b, Y* y) {
  using C = accumulate_t<Y>;
  const auto& step = rows.column_steps();
  const auto offsets_of = [&](Dim row) { return rows.row_offsets(row); };
  for_elements(rows.rows(), rows.columns(), offsets_of, [&](const StridedRows<3>::Offsets& offset, Dim c) {
    const Pack<A, N> left = load<N>(a + (offset[0] + c * step[0]) * N);
    const Pack<B, N> right = load<N>(b + (offset[1] + c * step[1]) * N);
    Pack<Y, N> result;
    for (int i = 0; i < N; ++i) result.value[i] = rounded<Y>(f(convert<C>(left.value[i]), convert<C>(right.value[i])));
    store<N>(result, y + (offset[2] + c * step[2]) * N);
  });
}

template <class F, class A, class B, class Y>
void run_typed(const Exec& exec, const F& f, const ConstView& a, const ConstView& b, const View& y) {
  if (y.numel() == 0) return;
  if (a.contiguous() && b.contiguous() && y.contiguous()) {
    return map(exec, y.numel(), f, y.as<Y>(), a.as<A>(), b.as<B>());
  }
  constexpr int N = kWide<A, B, Y>;
  const StridedRows<3> rows(y.shape, {a.stride, b.stride, y.stride});
  const bool aligned = aligned_for(a.as<A>(), N) && aligned_for(b.as<B>(), N) && aligned_for(y.as<Y>(), N);
  const auto packs = aligned ? rows.in_packs(N) : std::nullopt;
  const auto& parts = packs ? *packs : rows;
  const auto g = grid_of_rows(parts.rows(), parts.columns());
  if (packs) strided_rows<N><<<g.grid, g.block, 0, queue(exec)>>>(parts, f, a.as<A>(), b.as<B>(), y.as<Y>());
  else strided_rows<1><<<g.grid, g.block, 0, queue(exec)>>>(parts, f, a.as<A>(), b.as<B>(), y.as<Y>());
  ASHLAR_CUDA_CHECK_LAUNCH();
}

bool repeats_one_value(const ConstView& v) {
  for (int d = 0; d < v.shape.ndim(); ++d) {
    if (v.size(d) > 1 && v.step(d) != 0) return false;
  }
  return true;
}

// make_f(A{}) gives the functor for arithmetic in A.
template <class MakeF>
void run(const Exec& exec, const MakeF& make_f, const ConstView& a, const ConstView& b, const View& y) {
  if (y.dtype == DType::f64) {
    return run_typed<decltype(make_f(0.0)), double, double, double>(exec, make_f(0.0), a, b, y);
  }
  using F = decltype(make_f(0.0f));
  const F f = make_f(0.0f);
  dispatch_f32_bf16(a.dtype, [&]<class A>() {
    dispatch_f32_bf16(b.dtype, [&]<class B>() {
      dispatch_f32_bf16(y.dtype, [&]<class Y>() { run_typed<F, A, B, Y>(exec, f, a, b, y); });
    });
  });
}

void run_affine(const Exec& exec, const ConstView& x, double alpha, double beta, const View& y) {
  const auto make_f = [=](auto like) {
    using A = decltype(like);
    return Affine<A>{static_cast<A>(alpha), static_cast<A>(beta)};
  };
  run(exec, make_f, x, x, y);
}

}  // namespace

void linear_combination(const Exec& exec, ConstView a, double alpha, ConstView b, double beta, View y) {
  check_same_width("linear_combination", a, y);
  check_same_width("linear_combination", b, y);
  const auto make_f = [=](auto like) {
    using A = decltype(like);
    return LinearCombination<A>{static_cast<A>(alpha), static_cast<A>(beta)};
  };
  run(exec, make_f, a, b, y);
}

void multiply(const Exec& exec, ConstView a, ConstView b, View y) {
  check_same_width("multiply", a, y);
  check_same_width("multiply", b, y);
  // A gradient times that of a scalar loss stays in vectors.
  if (a.dtype == y.dtype && b.dtype == master_dtype(y.dtype) && a.contiguous() && y.contiguous() && repeats_one_value(b)) {
    return dispatch_floating(y.dtype, "multiply", [&]<class T>() {
      using A = accumulate_t<T>;
      map(exec, y.numel(), TimesValue<A>{b.as<A>()}, y.as<T>(), a.as<T>());
    });
  }
  run(exec, [](auto like) { return Product<decltype(like)>{}; }, a, b, y);
}

void divide(const Exec& exec, ConstView a, ConstView b, View y) {
  check_same_width("divide", a, y);
  check_same_width("divide", b, y);
  run(exec, [](auto like) { return Quotient<decltype(like)>{}; }, a, b, y);
}

void scale(const Exec& exec, ConstView x, double alpha, View y) {
  check_same_width("scale", x, y);
  run_affine(exec, x, alpha, -0.0, y);  // adding -0 changes no bit, where +0 would change the sign of -0
}

void affine(const Exec& exec, ConstView x, double alpha, double beta, View y) {
  check_same_width("affine", x, y);
  run_affine(exec, x, alpha, beta, y);
}

void cast(const Exec&, ConstView x, View y) {
  check_operand("cast", x, y);
  copy(x, y);
}

}  // namespace ashlar::kernels::cuda
