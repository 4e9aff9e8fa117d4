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

// body(f) with f(u, v), the operation on vectors.
template <class D, class Body>
HWY_INLINE void with_operation(D d, const Work& work, const Body& body) {
  using T = hn::TFromD<D>;
  const auto alpha = hn::Set(d, static_cast<T>(work.alpha)), beta = hn::Set(d, static_cast<T>(work.beta));
  switch (work.operation) {
    case Operation::linear_combination:
      return body([=](auto u, auto v) HWY_ATTR { return hn::MulAdd(alpha, u, hn::Mul(beta, v)); });
    case Operation::multiply: return body([](auto u, auto v) HWY_ATTR { return hn::Mul(u, v); });
    case Operation::divide: return body([](auto u, auto v) HWY_ATTR { return hn::Div(u, v); });
  }
}

// `count` values of each, side by side.
template <class A, class B, class Y>
void combine(const Work& work, Dim count, const A* a, const B* b, Y* y) {
  const Tag<A, B, Y> d;
  with_operation(d, work, [&](const auto& f) HWY_ATTR { map(d, count, f, y, a, b); });
}

// The same with one b for all.
template <class A, class B, class Y>
void combine_with_value(const Work& work, Dim count, const A* a, const B* b, Y* y) {
  const Tag<A, B, Y> d;
  const auto value = hn::Set(d, convert<hn::TFromD<decltype(d)>>(*b));
  with_operation(d, work, [&](const auto& f) HWY_ATTR { map(d, count, [&](auto u) HWY_ATTR { return f(u, value); }, y, a); });
}

// Values that lie apart are brought side by side, a vector at a time: more at once would take from the cache what the next
// row has beside them.
template <class A, class B, class Y>
void combine_apart(const Work& work, Dim count, const A* a, const B* b, Y* y) {
  const Tag<A, B, Y> d;
  using T = hn::TFromD<decltype(d)>;
  constexpr Dim kPiece = hn::MaxLanes(d);
  T a_piece[kPiece], b_piece[kPiece], y_piece[kPiece];
  const auto& step = work.rows.column_steps();
  for (Dim i = 0; i < count; i += kPiece) {
    const Dim part = count - i < kPiece ? count - i : kPiece;
    for (Dim k = 0; k < part; ++k) a_piece[k] = convert<T>(a[(i + k) * step[0]]);
    for (Dim k = 0; k < part; ++k) b_piece[k] = convert<T>(b[(i + k) * step[1]]);
    combine(work, part, a_piece, b_piece, y_piece);
    for (Dim k = 0; k < part; ++k) y[(i + k) * step[2]] = convert<Y>(y_piece[k]);
  }
}

template <class A, class B, class Y>
void rows_of(const Work& work, Dim row_begin, Dim row_end, Dim column_begin, Dim column_end) {
  const auto& step = work.rows.column_steps();
  const bool side_by_side = step[0] == 1 && step[2] == 1;
  const Dim count = column_end - column_begin;
  for (Dim row = row_begin; row < row_end; ++row) {
    const auto offset = work.rows.row_offsets(row);
    const A* a = work.a.as<A>() + offset[0] + column_begin * step[0];
    const B* b = work.b.as<B>() + offset[1] + column_begin * step[1];
    Y* y = work.y.as<Y>() + offset[2] + column_begin * step[2];
    if (side_by_side && step[1] == 1) combine(work, count, a, b, y);
    else if (side_by_side && step[1] == 0) combine_with_value(work, count, a, b, y);
    else combine_apart(work, count, a, b, y);
  }
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
