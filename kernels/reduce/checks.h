// Checks that every device makes.
#pragma once
#include <span>

#include "core/view.h"

namespace ashlar::kernels::sums {

inline void check_sum_to(const ConstView& x, const View& y) {
  ASHLAR_CHECK(x && y, "sum_to: an operand is undefined");
  ASHLAR_CHECK(x.shape.ndim() == y.shape.ndim(), "sum_to: shapes ", x.shape, " and ", y.shape,
               " must have the same number of dimensions");
  for (int d = 0; d < x.shape.ndim(); ++d) {
    ASHLAR_CHECK(y.size(d) == x.size(d) || y.size(d) == 1, "sum_to: shape ", x.shape, " cannot be summed to ",
                 y.shape, "; each size must be kept or become 1");
  }
  ASHLAR_CHECK(is_floating(x.dtype) && is_floating(y.dtype), "sum_to: needs floating dtypes (f64, f32 or bf16), got ",
               x.dtype, " and ", y.dtype);
}

inline void check_sums_of_squares(std::span<const ConstView> xs, const View& y) {
  const auto count = static_cast<Dim>(xs.size());
  ASHLAR_CHECK(y && y.shape == Shape{count} && y.dtype == DType::f64 && y.contiguous(), "sums_of_squares: the results must be ",
               count, " f64, not ", y.shape, " ", y.dtype);
  for (const ConstView& x : xs) {
    ASHLAR_CHECK(x, "sums_of_squares: an array is undefined");
    ASHLAR_CHECK(x.contiguous() && is_floating(x.dtype), "sums_of_squares: needs contiguous floating arrays, got ", x.dtype,
                 x.shape);
  }
}

}  // namespace ashlar::kernels::sums
