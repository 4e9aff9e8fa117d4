// Sizes of a Monarch call; checked alike on every device.
#pragma once
#include "kernels/checks.h"
#include "kernels/side.h"

namespace ashlar::kernels::monarch {

// Sizes of a call, from checked views. `a` and `h` are the hidden features as R makes them, in b2 blocks of (b1, c),
// and as L takes them, in b1 blocks of (b2, c).
struct Sizes {
  Dim rows;
  Side in, a, h, out;
  Dim rank;  // c
};

inline Sizes check(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& h,
                   const ConstView& r, const ConstView& l, const ConstView& bias) {
  check_inputs_and_outputs(operation, x, y);
  ASHLAR_CHECK(r.shape.ndim() == 3 && l.shape.ndim() == 3 && r.size(0) >= 1 && l.size(0) >= 1 &&
                   r.size(1) >= l.size(0) && r.size(1) % l.size(0) == 0,
               operation, ": r ", r.shape, " must be (b2, b1 c, q) for l ", l.shape, ", (b1, p, b2 c)");
  const Dim n = x.size(1), m = y.size(1), b1 = l.size(0), b2 = r.size(0), c = r.size(1) / b1;
  const Dim p = ceil_div(m, b1), q = ceil_div(n, b2), hidden = b1 * b2 * c;
  check_weights(operation, "r", r, {b2, b1 * c, q}, x.dtype);
  check_weights(operation, "l", l, {b1, p, b2 * c}, x.dtype);
  check_contiguous(operation, "bias", bias, {m}, master_dtype(x.dtype));
  check_contiguous(operation, "h", h, {x.size(0), hidden}, x.dtype);
  return {x.size(0), {n, b2, q}, {hidden, b2, b1 * c}, {hidden, b1, b2 * c}, {m, b1, p}, c};
}

inline void check_gradients(const Sizes& sizes, const ConstView& x, const ConstView& h, const ConstView& r,
                            const ConstView& l, const ConstView& dx, const ConstView& dr, const ConstView& dl) {
  constexpr std::string_view operation = "monarch_backward";
  ASHLAR_CHECK(h || !dl || sizes.rows == 0, operation, ": h must be given for the gradient of l");
  check_input_gradient(operation, x, dx);
  check_contiguous(operation, "dr", dr, r.shape, master_dtype(x.dtype));
  check_contiguous(operation, "dl", dl, l.shape, master_dtype(x.dtype));
}

}  // namespace ashlar::kernels::monarch
