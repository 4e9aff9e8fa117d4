#include "kernels/blast/plan.h"

namespace ashlar::kernels::blast {

Shapes check_shapes(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& u,
                    const ConstView& v, const ConstView& s, const ConstView& bias) {
  const auto check_rows = [&](const ConstView& view, std::string_view name) {
    ASHLAR_CHECK(view.shape.ndim() == 2 && (view.size(1) <= 1 || view.step(1) == 1), operation, ": ", name,
                 " must be a matrix with contiguous rows, got ", view.shape);
    ASHLAR_CHECK(view.dtype == x.dtype, operation, ": ", name, " is ", view.dtype, " but x is ", x.dtype);
  };
  check_rows(x, "x");
  check_rows(y, "y");
  ASHLAR_CHECK(x.size(0) == y.size(0), operation, ": x ", x.shape, " and y ", y.shape, " must have as many rows");
  const auto check_factor = [&](const ConstView& factor, std::string_view name, int ndim) {
    ASHLAR_CHECK(factor.shape.ndim() == ndim && factor.contiguous(), operation, ": ", name, " must be contiguous, of ",
                 ndim, " dimensions, got ", factor.shape);
    ASHLAR_CHECK(factor.dtype == master_dtype(x.dtype), operation, ": ", name, " is ", factor.dtype, " but must be ",
                 master_dtype(x.dtype), " beside x of ", x.dtype);
  };
  check_factor(u, "u", 3);
  check_factor(v, "v", 3);
  const Dim n = x.size(1), m = y.size(1), rank = u.size(2);
  ASHLAR_CHECK(u.size(0) >= 1 && u.size(1) == ceil_div(m, u.size(0)), operation, ": u ", u.shape,
               " must be (b1, ceil(m / b1), r) for y ", y.shape);
  ASHLAR_CHECK(v.size(0) >= 1 && v.size(1) == ceil_div(n, v.size(0)), operation, ": v ", v.shape,
               " must be (b2, ceil(n / b2), r) for x ", x.shape);
  ASHLAR_CHECK(rank >= 1 && v.size(2) == rank, operation, ": u ", u.shape, " and v ", v.shape,
               " must have the same rank, at least 1");
  if (s) {
    check_factor(s, "s", 3);
    const Shape expected{u.size(0), v.size(0), rank};
    ASHLAR_CHECK(s.shape == expected, operation, ": s ", s.shape, " must be ", expected, " for u ", u.shape, " and v ",
                 v.shape);
  } else {
    ASHLAR_CHECK(u.size(0) == 1 && v.size(0) == 1, operation, ": without s, u ", u.shape, " and v ", v.shape,
                 " must have one block");
  }
  if (bias) {
    check_factor(bias, "bias", 1);
    ASHLAR_CHECK(bias.size(0) == m, operation, ": bias ", bias.shape, " must have the ", m, " columns of y");
  }
  return {x.size(0), {n, v.size(0), v.size(1)}, {m, u.size(0), u.size(1)}, rank};
}

void check_gradients(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& v,
                     const ConstView& s, const ConstView& dx, const ConstView& du, const ConstView& dv,
                     const ConstView& ds) {
  const auto check_gradient = [&](const ConstView& gradient, const ConstView& of, std::string_view name) {
    if (!gradient) return;
    ASHLAR_CHECK(gradient.shape == of.shape && gradient.dtype == of.dtype, operation, ": ", name, " (", gradient.dtype,
                 " ", gradient.shape, ") must be ", of.dtype, " ", of.shape);
  };
  check_gradient(dx, x, "dx");
  check_gradient(du, u, "du");
  check_gradient(dv, v, "dv");
  check_gradient(ds, s, "ds");
  for (const ConstView& gradient : {du, dv, ds}) {
    ASHLAR_CHECK(!gradient || gradient.contiguous(), operation, ": gradients of factors must be contiguous");
  }
  ASHLAR_CHECK(!dx || dx.size(1) <= 1 || dx.step(1) == 1, operation, ": dx ", dx.shape, " must have contiguous rows");
}

}  // namespace ashlar::kernels::blast
