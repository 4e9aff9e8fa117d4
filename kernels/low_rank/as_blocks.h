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

// z (R, r) as (R, 1, r): the hidden features of the only block.
template <class AnyView>
AnyView as_hidden(AnyView z) {
  if (!z) return z;
  const Dim row = z.step(0);
  z.shape = Shape{z.size(0), 1, z.size(1)};
  z.stride = {};
  z.stride[0] = z.stride[1] = row;
  z.stride[2] = 1;
  return z;
}

inline void check_matrix(std::string_view operation, const ConstView& matrix, std::string_view name) {
  ASHLAR_CHECK(!matrix || (matrix.shape.ndim() == 2 && matrix.contiguous()), operation, ": ", name,
               " must be a contiguous matrix, got ", matrix.shape);
}

}  // namespace ashlar::kernels::low_rank
