// One side of a structured matrix.
#pragma once
#include <algorithm>

#include "core/rounding.h"

namespace ashlar::kernels {

// `size` features in `blocks` blocks of `length`; the last ones may be short or empty.
struct Side {
  Dim size, blocks, length;
  Dim begin(Dim block) const { return std::min(size, block * length); }
  bool padded() const { return size < blocks * length; }
  Dim count(Dim block) const { return std::min(size, (block + 1) * length) - begin(block); }
};

}  // namespace ashlar::kernels
