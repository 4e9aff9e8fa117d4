// Sums as every device sees them: with neighbouring dimensions merged.
#pragma once
#include "core/view.h"

namespace ashlar::kernels::sums {

// A dimension of x and y, or neighbours that merge into one; a reduced one has no step in y.
struct Axis {
  Dim size, x, y;
};
// Axes of a range in row-major order, small enough to be a parameter of a kernel.
struct Axes {
  int count = 0;
  Axis axis[kMaxDims] = {};

  void add(const Axis& next) { axis[count++] = next; }
  constexpr const Axis& back() const { return axis[count - 1]; }
  constexpr Dim numel() const {
    Dim result = 1;
    for (int d = 0; d < count; ++d) result *= axis[d].size;
    return result;
  }
  // Offsets in x and y of element `index` of the range.
  struct Offsets {
    Dim x, y;
  };
  constexpr Offsets offsets(Dim index) const {
    Offsets result{0, 0};
    for (int d = count - 1; d >= 0; --d) {
      result.x += index % axis[d].size * axis[d].x;
      result.y += index % axis[d].size * axis[d].y;
      index /= axis[d].size;
    }
    return result;
  }
};
struct Layout {
  Axes kept, reduced;
};

inline Layout layout_of(const ConstView& x, const View& y) {
  Layout layout;
  bool previous_kept = false, first = true;
  for (int d = 0; d < x.shape.ndim(); ++d) {
    const Dim size = x.size(d);
    if (size == 1) continue;
    const bool kept = y.size(d) != 1;
    auto& axes = kept ? layout.kept : layout.reduced;
    const Axis axis{size, x.step(d), kept ? y.step(d) : 0};
    const bool merges = !first && kept == previous_kept && axes.back().x == axis.x * size &&
                        axes.back().y == axis.y * size;
    if (merges) axes.axis[axes.count - 1] = {axes.back().size * size, axis.x, axis.y};
    else axes.add(axis);
    previous_kept = kept, first = false;
  }
  return layout;
}

}  // namespace ashlar::kernels::sums
