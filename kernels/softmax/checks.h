// Checks that every device makes; `operation` starts the message.
#pragma once
#include "kernels/checks.h"

namespace ashlar::kernels::softmax {

// `first` decides the shape and dtype of the others.
inline void check(std::string_view operation, std::string_view name, const ConstView& first) {
  ASHLAR_CHECK(first.shape.ndim() == 2, operation, ": ", name, " must be (R, C), got ", first.shape);
  check_contiguous(operation, name, first, first.shape, first.dtype);
}

inline void check_forward(const ConstView& x, const View& y) {
  constexpr std::string_view kName = "softmax_forward";
  ASHLAR_CHECK(x && y, kName, ": an operand is undefined");
  check(kName, "x", x);
  check_contiguous(kName, "y", y, x.shape, x.dtype);
}

inline void check_backward(const ConstView& y, const ConstView& dy, const View& dx) {
  constexpr std::string_view kName = "softmax_backward";
  ASHLAR_CHECK(y && dy && dx, kName, ": an operand is undefined");
  check(kName, "y", y);
  check_contiguous(kName, "dy", dy, y.shape, y.dtype);
  check_contiguous(kName, "dx", dx, y.shape, y.dtype);
}

}  // namespace ashlar::kernels::softmax
