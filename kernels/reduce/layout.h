// Sums as every device sees them: with neighbouring dimensions merged.
#pragma once
#include <utility>
#include <vector>

#include "core/view.h"

namespace ashlar::kernels::sums {

// A dimension of x and y, or neighbours that merge into one; a reduced one has no step in y.
struct Axis {
  Dim size, x, y;
};
struct Layout {
  std::vector<Axis> kept, reduced;
  bool last_is_kept = false;
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
    if (merges) axes.back() = {axes.back().size * size, axis.x, axis.y};
    else axes.push_back(axis);
    previous_kept = kept, first = false;
  }
  layout.last_is_kept = previous_kept;
  return layout;
}

// Offsets in x and y of element `index` of the row-major range over `axes`.
inline std::pair<Dim, Dim> offsets(const std::vector<Axis>& axes, Dim index) {
  std::pair<Dim, Dim> result{0, 0};
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    result.first += index % axis->size * axis->x;
    result.second += index % axis->size * axis->y;
    index /= axis->size;
  }
  return result;
}
inline Dim count_of(const std::vector<Axis>& axes) {
  Dim count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  return count;
}

}  // namespace ashlar::kernels::sums
