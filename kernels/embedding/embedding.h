// Rows of a table, chosen by ids. Rows are contiguous, any distance apart.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// y (N, C) = table (V, C) at ids (N) i32; y's dtype may differ from the table's. InputError names an id outside [0, V);
// on a GPU, whose ids the host does not see, its row of y is NaN.
extern const Kernel<void(const Exec&, ConstView table, ConstView ids, View y)> embedding_forward;
// dtable (V, C) master dtype += rows of dy (N, C). Rows that share an id are added in the order of N,
// unless the device is a GPU and deterministic() is off (core/determinism.h).
extern const Kernel<void(const Exec&, ConstView ids, ConstView dy, View dtable)> embedding_backward;

}  // namespace ashlar::kernels
