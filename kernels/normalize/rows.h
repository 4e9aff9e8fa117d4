// Rows, and the factor of one.
#pragma once
#include "kernels/views.h"

namespace ashlar::kernels::normalize {

// NaN and infinity stay in the row that has them.
constexpr double row_factor(double norm, double target, double eps) { return norm == 0 ? 0 : target / (norm + eps); }

template <class AnyView>
AnyView row_of(const AnyView& v, Dim row) {
  return strided(v, row * v.size(1), {v.size(1)}, {1});
}

}  // namespace ashlar::kernels::normalize
