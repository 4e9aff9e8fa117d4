// The sum of rows on one thread, for kernels that add up as they go.
#pragma once
#include "core/view.h"

namespace ashlar::kernels::sums {

// sums (columns) = or += Σ_r rows[r], in the order of the rows.  rows (R, columns) of a floating dtype, without gaps between
// the values of a row; sums in the master dtype.
void column_sums(const ConstView& rows, bool accumulate, void* sums);

}  // namespace ashlar::kernels::sums
