// Sizes of a BLAST call; checked alike on every device.
#pragma once
#include <string_view>

#include "core/view.h"
#include "kernels/side.h"

namespace ashlar::kernels::blast {

// Sizes of a call, from checked views.
struct Sizes {
  Dim rows;
  Side in, out;
  Dim rank;
};

// Checks x (R, n), y (R, m), u (b1, p, r), v (b2, q, r), s (b1, b2, r; absent: one block each), bias (m) and kept, of
// blast_kept_shape or, without s, (R, 1, r); s, bias and kept may be absent.
Sizes check(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& u,
            const ConstView& v, const ConstView& s, const ConstView& bias, const ConstView& kept);

// Checks of the gradients that a backward writes; any may be absent.
void check_gradients(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& v,
                     const ConstView& s, const ConstView& dx, const ConstView& du, const ConstView& dv, const ConstView& ds);

}  // namespace ashlar::kernels::blast
