// Broadcasting as in NumPy, and its reverse: the one place where gradients of repeated values are summed.
#pragma once
#include "core/array.h"

namespace ashlar::autograd {

// The shape that both expand to; InputError naming `operation` if there is none.
Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view operation);
// `gradient` summed over everything that was repeated when `shape` was expanded to the gradient's shape; in `dtype`, to which the
// sums are rounded once, or that of the gradient.
Array sum_to_shape(const Array& gradient, const Shape& shape, DType dtype);
inline Array sum_to_shape(const Array& gradient, const Shape& shape) { return sum_to_shape(gradient, shape, gradient.dtype()); }

}  // namespace ashlar::autograd
