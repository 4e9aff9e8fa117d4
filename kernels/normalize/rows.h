// What every device checks, and the factor of a row.
#pragma once
#include <string_view>
#include <vector>

#include "kernels/elementwise/checks.h"
#include "kernels/views.h"

namespace ashlar::kernels::normalize {

// NaN and infinity stay in the row that has them.
constexpr double row_factor(double norm, double target, double eps) { return norm == 0 ? 0 : target / (norm + eps); }

inline void check(const ConstView& x, const ConstView& target, const View& y) {
  constexpr std::string_view kName = "normalize_rows";
  ASHLAR_CHECK(x.shape.ndim() == 2, kName, ": x must be (N, M), got ", x.shape);
  elementwise::check_same_width(kName, x, y);
  if (target) elementwise::check_same_width(kName, target, y);
  ASHLAR_CHECK(x.contiguous() && y.contiguous() && (!target || target.contiguous()), kName, ": operands of shape ", x.shape,
               " must be contiguous; make them so first");
}

template <class AnyView>
AnyView row_of(const AnyView& v, Dim row) {
  return strided(v, row * v.size(1), {v.size(1)}, {1});
}

}  // namespace ashlar::kernels::normalize
