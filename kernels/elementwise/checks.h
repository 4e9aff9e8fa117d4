// Checks that every device makes; `operation` starts the message.
#pragma once
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels::elementwise {

inline void check_operand(std::string_view operation, const ConstView& operand, const View& y) {
  ASHLAR_CHECK(operand && y, operation, ": an operand is undefined");
  ASHLAR_CHECK(operand.shape == y.shape, operation, ": shapes ", operand.shape, " and ", y.shape,
               " differ; expand the smaller one first");
  ASHLAR_CHECK(is_floating(operand.dtype) && is_floating(y.dtype), operation,
               ": needs floating dtypes (f64, f32 or bf16), got ", operand.dtype, " and ", y.dtype);
}
inline void check_same_width(std::string_view operation, const ConstView& operand, const View& y) {
  check_operand(operation, operand, y);
  ASHLAR_CHECK((operand.dtype == DType::f64) == (y.dtype == DType::f64), operation, ": cannot mix ", operand.dtype,
               " and ", y.dtype, "; cast first");
}

}  // namespace ashlar::kernels::elementwise
