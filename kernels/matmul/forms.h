// Bringing a product into a form that the device's library takes.
#pragma once
#include "core/array.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// A copy by rows in `dtype` that keeps stride 0 for repeated batches, so that only distinct values are converted; each of its
// matrices is contiguous.
inline Array copied(const Exec& exec, const ConstView& v, DType dtype) {
  ConstView distinct = v;
  for (int d = 0; d < v.shape.ndim() - 2; ++d) {
    if (v.step(d) == 0) distinct.shape = distinct.shape.with(d, 1);
  }
  const Array result = Array::empty(distinct.shape, dtype, exec.device);
  cast(exec, distinct, result);
  return result.expand(v.shape);
}
// By columns if these have no gaps, so that they are read in their order.
inline Array converted(const Exec& exec, const ConstView& v, DType dtype) {
  if (v.step(-1) != 1 && v.step(-2) == 1) return copied(exec, transposed(v), dtype).transpose(-2, -1);
  return copied(exec, v, dtype);
}

// The products write rows. A y with unit stride along its columns is the product of the transposed operands.
inline Problem by_rows_of_y(const Problem& p) {
  if (p.y.step(-1) == 1 || p.n() == 1 || p.y.step(-2) != 1 || p.options.bias || p.options.row_sums) return p;
  return {transposed(p.b), transposed(p.a), transposed(p.y), p.options};
}

// Has the product write an array of its own, which is copied to the y that it was given in the end.
inline Array redirect(const Exec& exec, Problem& p, DType dtype) {
  const Array y = Array::empty(p.y.shape, dtype, exec.device);
  if (p.options.accumulate) cast(exec, p.y, y);
  p.y = y;
  return y;
}

}  // namespace ashlar::kernels::products
