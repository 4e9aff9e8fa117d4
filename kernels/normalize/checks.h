// Checks that every device makes.
#pragma once
#include <string_view>

#include "kernels/elementwise/checks.h"

namespace ashlar::kernels::normalize {

inline void check(const ConstView& x, const ConstView& target, const View& y) {
  constexpr std::string_view kName = "normalize_rows";
  ASHLAR_CHECK(x.shape.ndim() == 2, kName, ": x must be (N, M), got ", x.shape);
  elementwise::check_same_width(kName, x, y);
  if (target) elementwise::check_same_width(kName, target, y);
  ASHLAR_CHECK(x.contiguous() && y.contiguous() && (!target || target.contiguous()), kName, ": operands of shape ", x.shape,
               " must be contiguous; make them so first");
}

}  // namespace ashlar::kernels::normalize
