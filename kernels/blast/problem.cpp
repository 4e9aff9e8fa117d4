#include "kernels/blast/problem.h"

#include "kernels/checks.h"
#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::blast {

Problem check_problem(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& u,
                      const ConstView& v, const ConstView& s, const ConstView& bias, const ConstView& a) {
  const DType master = master_dtype(x.dtype);
  check_rows(operation, "x", x, x.dtype);
  check_rows(operation, "y", y, x.dtype);
  ASHLAR_CHECK(x.size(0) == y.size(0), operation, ": x ", x.shape, " and y ", y.shape, " must have as many rows");
  const auto check_factor = [&](const ConstView& factor, std::string_view name) {
    ASHLAR_CHECK(factor.shape.ndim() == 3 && factor.size(0) >= 1, operation, ": ", name,
                 " must be (blocks, features, r), got ", factor.shape);
    check_contiguous(operation, name, factor, factor.shape, master);
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
  if (a) {
    const Shape expected{x.size(0), v.size(0), rank};
    ASHLAR_CHECK(a.shape == expected && a.dtype == x.dtype && a.step(2) == 1 && (!s || a.step(1) >= blast_padded_rank(rank)), operation,
                 ": a ", a.dtype, a.shape, " must be ", x.dtype, expected, " with blocks ", blast_padded_rank(rank), " apart");
  }
  return {x.size(0), {n, v.size(0), v.size(1)}, {m, u.size(0), u.size(1)}, rank};
}

void to_rank(const Exec& exec, const Side& side, const ConstView& features, const ConstView& factor, const View& hidden) {
  for_runs(side, [&](const BlockRun& run) {
    matmul(exec, block_columns(features, side, run, run.from), block_weights(factor, run, run.from, factor.size(2)),
           hidden_blocks(hidden, run), {});
  });
}

void from_rank(const Exec& exec, const Side& side, const ConstView& hidden, const ConstView& factor, const ConstView& bias,
               const View& features) {
  for_runs(side, [&](const BlockRun& run) {
    multiply_blocks(exec, hidden_blocks(hidden, run), block_weights(factor, run, factor.size(1), run.to),
                    block_bias(bias, side, run, run.to), block_columns(features, side, run, run.to));
  });
}

}  // namespace ashlar::kernels::blast
