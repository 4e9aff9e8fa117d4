// Whether rows can be read and written several values at once.
#pragma once
#include <cstdint>

#include "core/view.h"

namespace ashlar::kernels {

// Values of 16 bytes.
inline Dim values_of_vector(DType dtype) { return 16 / static_cast<Dim>(size_of(dtype)); }

// Whether every row of v, along its last dimension, begins at a multiple of n values. So do those of an absent view.
inline bool rows_aligned(const ConstView& v, Dim n) {
  bool aligned = reinterpret_cast<std::uintptr_t>(v.data) % (static_cast<std::uintptr_t>(n) * size_of(v.dtype)) == 0;
  for (int d = 0; d < v.shape.ndim() - 1; ++d) aligned = aligned && v.step(d) % n == 0;
  return aligned;
}
inline bool rows_aligned(const ConstView& v) { return rows_aligned(v, values_of_vector(v.dtype)); }

// Whether every row also ends at such a multiple.
inline bool rows_in_vectors(const ConstView& v, Dim n) { return rows_aligned(v, n) && (!v || v.size(-1) % n == 0); }
inline bool rows_in_vectors(const ConstView& v) { return rows_in_vectors(v, values_of_vector(v.dtype)); }

}  // namespace ashlar::kernels
