// Checks that every device makes; `operation` starts the message.
#pragma once
#include "kernels/checks.h"

namespace ashlar::kernels::unary {

inline void check(std::string_view operation, const ConstView& x, std::string_view name, const ConstView& other) {
  ASHLAR_CHECK(x && other, operation, ": ", x ? name : "x", " is undefined");
  check_contiguous(operation, "x", x, x.shape, x.dtype);
  check_contiguous(operation, name, other, x.shape, x.dtype);
}

}  // namespace ashlar::kernels::unary
