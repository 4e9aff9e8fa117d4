#include "kernels/blast/checks.h"

#include "kernels/blast/blast.h"
#include "kernels/checks.h"

namespace ashlar::kernels::blast {

Sizes check(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& u,
            const ConstView& v, const ConstView& s, const ConstView& bias, const ConstView& kept) {
  const DType master = master_dtype(x.dtype);
  check_inputs_and_outputs(operation, x, y);
  const auto check_factor = [&](const ConstView& factor, std::string_view name) {
    ASHLAR_CHECK(factor.shape.ndim() == 3 && factor.size(0) >= 1, operation, ": ", name,
                 " must be (blocks, features, r), got ", factor.shape);
    check_weights(operation, name, factor, factor.shape, x.dtype);
  };
  check_factor(u, "u");
  check_factor(v, "v");
  const Dim n = x.size(1), m = y.size(1), rank = u.size(2);
  ASHLAR_CHECK(u.size(1) == ceil_div(m, u.size(0)), operation, ": u ", u.shape, " must be (b1, ceil(m / b1), r) for y ",
               y.shape);
  ASHLAR_CHECK(v.size(1) == ceil_div(n, v.size(0)), operation, ": v ", v.shape, " must be (b2, ceil(n / b2), r) for x ",
               x.shape);
  ASHLAR_CHECK(rank >= 1 && v.size(2) == rank, operation, ": u ", u.shape, " and v ", v.shape,
               " must have the same rank, at least 1");
  if (s) {
    const Shape expected{u.size(0), v.size(0), rank};
    ASHLAR_CHECK(s.shape == expected, operation, ": s ", s.shape, " must be ", expected, " for u ", u.shape, " and v ",
                 v.shape);
    check_contiguous(operation, "s", s, expected, master);
  } else {
    ASHLAR_CHECK(u.size(0) == 1 && v.size(0) == 1, operation, ": without s, u ", u.shape, " and v ", v.shape,
                 " must have one block");
  }
  check_contiguous(operation, "bias", bias, {m}, master);
  const Shape kept_shape = s ? blast_kept_shape(x.device, x.size(0), u.size(0), v.size(0), rank) : Shape{x.size(0), 1, rank};
  check_contiguous(operation, "kept", kept, kept_shape, x.dtype);
  return {x.size(0), {n, v.size(0), v.size(1)}, {m, u.size(0), u.size(1)}, rank};
}

void check_gradients(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& v,
                     const ConstView& s, const ConstView& dx, const ConstView& du, const ConstView& dv,
                     const ConstView& ds) {
  check_input_gradient(operation, x, dx);
  check_contiguous(operation, "du", du, u.shape, master_dtype(x.dtype));
  check_contiguous(operation, "dv", dv, v.shape, master_dtype(x.dtype));
  ASHLAR_CHECK(s || !ds, operation, ": ds ", ds.shape, " is given without s; leave it absent too");
  check_contiguous(operation, "ds", ds, s.shape, s.dtype);
}

}  // namespace ashlar::kernels::blast
