// Checks that every device makes; `operation` starts the message.
#pragma once
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels::gelu {

inline void check(std::string_view operation, const ConstView& x, const ConstView& other) {
  ASHLAR_CHECK(x && other, operation, ": an operand is undefined");
  ASHLAR_CHECK(x.shape == other.shape, operation, ": shapes ", x.shape, " and ", other.shape, " differ");
  ASHLAR_CHECK(x.dtype == other.dtype, operation, ": dtypes ", x.dtype, " and ", other.dtype, " differ");
  ASHLAR_CHECK(x.contiguous() && other.contiguous(), operation, ": needs contiguous arrays, shape ", x.shape,
               "; copy with as_contiguous() first");
}

}  // namespace ashlar::kernels::gelu
