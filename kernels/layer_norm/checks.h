// Checks that every device makes.
#pragma once
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels::layer_norm {

// A (rows, columns) operand like x, its last dimension contiguous; `per_row` and `per_column` vectors of master dtype.
struct Checker {
  std::string_view operation;
  const ConstView& x;

  void floating() const {
    ASHLAR_CHECK(is_floating(x.dtype), operation, ": needs a floating dtype (f64, f32 or bf16), got ", x.dtype);
  }
  void matrix(std::string_view name, const ConstView& v) const {
    ASHLAR_CHECK(v.shape.ndim() == 2 && v.shape == x.shape && v.dtype == x.dtype, operation, ": ", name, " ", v.shape,
                 " ", v.dtype, " must be (rows, columns) like x ", x.shape, " ", x.dtype);
    ASHLAR_CHECK(v.step(1) == 1 || v.size(1) == 1, operation, ": the last dimension of ", name, " ", v.shape,
                 " must be contiguous; copy with as_contiguous() first");
  }
  void vector(std::string_view name, const ConstView& v, int dim) const {
    const DType master = master_dtype(x.dtype);
    ASHLAR_CHECK(v.shape == Shape{x.size(dim)} && v.dtype == master && v.contiguous(), operation, ": ", name, " ",
                 v.shape, " ", v.dtype, " must be contiguous, of size ", x.size(dim), " and dtype ", master,
                 " for x ", x.shape, " ", x.dtype);
  }
};

inline void check_forward(const ConstView& x, const ConstView& branch, const ConstView& weight, const ConstView& bias,
                          const ConstView& sum, const ConstView& y, const ConstView& mean, const ConstView& rstd) {
  const Checker check{"layer_norm_forward", x};
  check.floating();
  ASHLAR_CHECK(bool(branch) == bool(sum), check.operation, ": ", branch ? "branch" : "sum", " is given without ",
               branch ? "sum" : "branch", " for x ", x.shape, "; give both or neither");
  check.matrix("x", x);
  if (branch) check.matrix("branch", branch);
  if (sum) check.matrix("sum", sum);
  check.matrix("y", y);
  check.vector("weight", weight, 1);
  check.vector("bias", bias, 1);
  check.vector("mean", mean, 0);
  check.vector("rstd", rstd, 0);
}

inline void check_backward(const ConstView& dy, const ConstView& x, const ConstView& weight, const ConstView& mean,
                           const ConstView& rstd, const ConstView& add, const ConstView& dx, const ConstView& dweight,
                           const ConstView& dbias) {
  const Checker check{"layer_norm_backward", x};
  check.floating();
  check.matrix("x", x);
  check.matrix("dy", dy);
  if (add) check.matrix("add", add);
  if (dx) check.matrix("dx", dx);
  check.vector("weight", weight, 1);
  check.vector("mean", mean, 0);
  check.vector("rstd", rstd, 0);
  if (dweight) check.vector("dweight", dweight, 1);
  if (dbias) check.vector("dbias", dbias, 1);
}

}  // namespace ashlar::kernels::layer_norm
