// Elementwise work on the CPU. Operands are all f64, or each f32 or bf16 with arithmetic in f32. The bits of a result
// do not depend on the strides.
#include "core/array.h"
#include "core/strided.h"
#include "kernels/elementwise/checks.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

#ifndef ASHLAR_KERNELS_ELEMENTWISE_ONCE
#define ASHLAR_KERNELS_ELEMENTWISE_ONCE
namespace ashlar::kernels {
namespace {

enum class Operation : unsigned char { linear_combination, multiply, divide };

// y = alpha a + beta b, y = a b or y = a / b.
struct Work {
  Operation operation;
  ConstView a, b;
  View y;
  double alpha, beta;
  StridedRows<3> rows;
};

}  // namespace
}  // namespace ashlar::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// `count` values that lie `step` apart, count <= lanes(d); the other lanes are 0.
template <class D, class T>
hn::Vec<D> gather(D d, const T* from, Dim step, Dim count) {
  T buffer[hn::MaxLanes(d)] = {};
  for (Dim i = 0; i < count; ++i) buffer[i] = from[i * step];
  return load(d, buffer);
}

template <class D, class F, class A, class B, class Y>
HWY_INLINE void row_of(D d, Dim count, const F& f, const A* a, const B* b, Y* y, const StridedRows<3>::Offsets& step) {
  if (step[2] == 1 && step[0] == 1 && step[1] == 1) {
    map(d, count, f, y, a, b);
  } else if (step[2] == 1 && step[0] == 1 && step[1] == 0) {
    const auto repeated = gather(d, b, 0, lanes(d));
    map(d, count, [&](auto v) HWY_ATTR { return f(v, repeated); }, y, a);
  } else {
    Y buffer[hn::MaxLanes(d)];
    for (Dim i = 0; i < count; i += lanes(d)) {
      const Dim part = count - i < lanes(d) ? count - i : lanes(d);
      store(d, f(gather(d, a + i * step[0], step[0], part), gather(d, b + i * step[1], step[1], part)), buffer);
      for (Dim k = 0; k < part; ++k) y[(i + k) * step[2]] = buffer[k];
    }
  }
}

template <class A, class B, class Y>
void rows_of(const Work& work, Dim row_begin, Dim row_end, Dim column_begin, Dim column_end) {
  const Tag<A, B, Y> d;
  using T = hn::TFromD<decltype(d)>;
  const auto alpha = hn::Set(d, static_cast<T>(work.alpha)), beta = hn::Set(d, static_cast<T>(work.beta));
  const auto& step = work.rows.column_steps();
  for (Dim row = row_begin; row < row_end; ++row) {
    const auto offset = work.rows.row_offsets(row);
    const A* a = work.a.as<A>() + offset[0] + column_begin * step[0];
    const B* b = work.b.as<B>() + offset[1] + column_begin * step[1];
    Y* y = work.y.as<Y>() + offset[2] + column_begin * step[2];
    const Dim count = column_end - column_begin;
    switch (work.operation) {
      case Operation::linear_combination:
        row_of(d, count, [=](auto u, auto v) HWY_ATTR { return hn::MulAdd(alpha, u, hn::Mul(beta, v)); }, a, b, y,
               step);
        break;
      case Operation::multiply:
        row_of(d, count, [](auto u, auto v) HWY_ATTR { return hn::Mul(u, v); }, a, b, y, step);
        break;
      case Operation::divide:
        row_of(d, count, [](auto u, auto v) HWY_ATTR { return hn::Div(u, v); }, a, b, y, step);
        break;
    }
  }
}

template <class Body>
void dispatch_f32_bf16(DType dtype, const Body& body) {
  if (dtype == DType::bf16) body.template operator()<bfloat16>();
  else body.template operator()<float>();
}

void elementwise_rows(const Work& work, Dim row_begin, Dim row_end, Dim column_begin, Dim column_end) {
  if (work.y.dtype == DType::f64) {
    return rows_of<double, double, double>(work, row_begin, row_end, column_begin, column_end);
  }
  dispatch_f32_bf16(work.a.dtype, [&]<class A>() HWY_ATTR {
    dispatch_f32_bf16(work.b.dtype, [&]<class B>() HWY_ATTR {
      dispatch_f32_bf16(work.y.dtype, [&]<class Y>() HWY_ATTR {
        rows_of<A, B, Y>(work, row_begin, row_end, column_begin, column_end);
      });
    });
  });
}

void cast_range(DType from, const void* x, DType to, void* y, Dim count) {
  dispatch_floating(from, "cast", [&]<class X>() HWY_ATTR {
    dispatch_floating(to, "cast", [&]<class Y>() HWY_ATTR {
      const Tag<X, Y> d;
      map(d, count, [](auto v) HWY_ATTR { return v; }, static_cast<Y*>(y), static_cast<const X*>(x));
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(elementwise_rows);
HWY_EXPORT(cast_range);

namespace cpu {
namespace {

using namespace elementwise;

void run(Operation operation, const ConstView& a, double alpha, const ConstView& b, double beta, const View& y) {
  const Work work{operation, a, b, y, alpha, beta, StridedRows<3>(y.shape, {a.stride, b.stride, y.stride})};
  const auto rows = ASHLAR_DISPATCH(elementwise_rows);
  parallel_rows(work.rows.rows(), work.rows.columns(), kGrain,
                [&](Dim row_begin, Dim row_end, Dim column_begin, Dim column_end) {
                  rows(work, row_begin, row_end, column_begin, column_end);
                });
}

// The same with one value for b, which strides of 0 repeat.
void run_with_value(Operation operation, const ConstView& a, double alpha, double b, double beta, const View& y) {
  const auto narrow = static_cast<float>(b);
  const bool wide = y.dtype == DType::f64;
  const ConstView repeated(wide ? static_cast<const void*>(&b) : &narrow, wide ? DType::f64 : DType::f32, y.shape, {});
  run(operation, a, alpha, repeated, beta, y);
}

}  // namespace

void linear_combination(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y) {
  check_same_width("linear_combination", a, y);
  check_same_width("linear_combination", b, y);
  run(Operation::linear_combination, a, alpha, b, beta, y);
}

void multiply(const Exec&, ConstView a, ConstView b, View y) {
  check_same_width("multiply", a, y);
  check_same_width("multiply", b, y);
  run(Operation::multiply, a, 1, b, 1, y);
}

void divide(const Exec&, ConstView a, ConstView b, View y) {
  check_same_width("divide", a, y);
  check_same_width("divide", b, y);
  run(Operation::divide, a, 1, b, 1, y);
}

void scale(const Exec&, ConstView x, double alpha, View y) {
  check_same_width("scale", x, y);
  run_with_value(Operation::multiply, x, 1, alpha, 1, y);
}

void affine(const Exec&, ConstView x, double alpha, double beta, View y) {
  check_same_width("affine", x, y);
  run_with_value(Operation::linear_combination, x, alpha, 1, beta, y);
}

void cast(const Exec&, ConstView x, View y) {
  check_operand("cast", x, y);
  if (!x.contiguous() || !y.contiguous()) return copy(x, y);
  const auto range = ASHLAR_DISPATCH(cast_range);
  parallel_for(x.numel(), kGrain, [&](Dim begin, Dim end) {
    range(x.dtype, advance(x.data, x.dtype, begin), y.dtype, advance(y.data, y.dtype, begin), end - begin);
  });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
