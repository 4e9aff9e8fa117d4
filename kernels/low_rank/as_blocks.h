// A matrix of low rank as BLAST with one block and no coupling.
#pragma once
#include <string_view>
#include <utility>

#include "core/view.h"

namespace ashlar::kernels::low_rank {

// (m, r) as (1, m, r): the only block.
template <class AnyView>
AnyView as_block(AnyView factor) {
  if (!factor) return factor;
  factor.shape = Shape{1, factor.size(0), factor.size(1)};
  factor.stride = contiguous_strides(factor.shape);
  return factor;
}

inline void check_factor(std::string_view operation, const ConstView& factor, std::string_view name) {
  ASHLAR_CHECK(!factor || (factor.shape.ndim() == 2 && factor.contiguous()), operation, ": ", name,
               " must be a contiguous matrix, got ", factor.shape);
}

}  // namespace ashlar::kernels::low_rank
