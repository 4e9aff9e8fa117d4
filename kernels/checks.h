// Checks of operands; InputError naming the operation and the operand.
#pragma once
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels {

// A matrix of the dtype whose rows are contiguous; an absent view passes.
inline void check_rows(std::string_view operation, std::string_view name, const ConstView& view, DType dtype) {
  if (!view) return;
  ASHLAR_CHECK(view.shape.ndim() == 2 && (view.size(1) <= 1 || view.step(1) == 1), operation, ": ", name,
               " must be a matrix with contiguous rows, got ", view.shape);
  ASHLAR_CHECK(view.dtype == dtype, operation, ": ", name, " is ", view.dtype, " but must be ", dtype);
}

// What goes through a layer, x (R, n) and y (R, m).
inline void check_inputs_and_outputs(std::string_view operation, const ConstView& x, const ConstView& y) {
  check_rows(operation, "x", x, x.dtype);
  check_rows(operation, "y", y, x.dtype);
  ASHLAR_CHECK(x.size(0) == y.size(0), operation, ": x ", x.shape, " and y ", y.shape, " must have as many rows");
}

// The gradient of x; an absent one passes.
inline void check_input_gradient(std::string_view operation, const ConstView& x, const ConstView& dx) {
  check_rows(operation, "dx", dx, x.dtype);
  ASHLAR_CHECK(!dx || dx.shape == x.shape, operation, ": dx ", dx.shape, " must have the shape of x ", x.shape);
}

// Row-major without gaps, of the shape and the dtype; an absent view passes.
inline void check_contiguous(std::string_view operation, std::string_view name, const ConstView& view,
                             const Shape& shape, DType dtype) {
  if (!view) return;
  ASHLAR_CHECK(view.shape == shape && view.dtype == dtype, operation, ": ", name, " ", view.dtype, view.shape, " must be ",
               dtype, shape, " and contiguous");
  ASHLAR_CHECK(view.contiguous(), operation, ": ", name, " ", dtype, shape,
               " must be contiguous; copy with as_contiguous() first");
}

// Both there, contiguous, and `other` of the shape and the dtype of x.
inline void check_like(std::string_view operation, const ConstView& x, std::string_view name, const ConstView& other) {
  ASHLAR_CHECK(x && other, operation, ": ", x ? name : "x", " is undefined");
  check_contiguous(operation, "x", x, x.shape, x.dtype);
  check_contiguous(operation, name, other, x.shape, x.dtype);
}

// As check_contiguous of weights of a product with activations of `dtype`: in their master dtype, or in theirs, which is not
// converted.
inline void check_weights(std::string_view operation, std::string_view name, const ConstView& view, const Shape& shape,
                          DType dtype) {
  check_contiguous(operation, name, view, shape, view && view.dtype == dtype ? dtype : master_dtype(dtype));
}

}  // namespace ashlar::kernels
