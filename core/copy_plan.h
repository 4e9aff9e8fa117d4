// How to copy between two layouts of one shape: neighbouring dimensions merged where both allow it.
#pragma once
#include <optional>

#include "core/view.h"

namespace ashlar {

struct CopyPlan {
  int ndim = 0;  // at least 1; the last dimension is the innermost
  std::array<Dim, kMaxDims> size{}, from{}, to{};

  constexpr Dim columns() const { return size[static_cast<std::size_t>(ndim - 1)]; }
  constexpr Dim rows() const {
    Dim count = 1;
    for (int d = 0; d + 1 < ndim; ++d) count *= size[static_cast<std::size_t>(d)];
    return count;
  }
  // Elements from the beginning of either side to its row `row` of columns.
  struct Offsets {
    Dim from, to;
  };
  constexpr Offsets row_offsets(Dim row) const {
    Offsets offsets{0, 0};
    for (int d = ndim - 2; d >= 0; --d) {
      const auto at = static_cast<std::size_t>(d);
      const Dim rest = d > 0 ? row / size[at] : 0, index = row - rest * size[at];
      row = rest;
      offsets.from += index * from[at];
      offsets.to += index * to[at];
    }
    return offsets;
  }

  // The same copy in packs of n neighbours, if both sides consist of such: columns and offsets count packs then.
  std::optional<CopyPlan> in_packs(Dim n) const;
};

CopyPlan plan_copy(const ConstView& from, const ConstView& to);

}  // namespace ashlar
