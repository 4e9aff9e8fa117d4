// Broadcasting as in NumPy, and its reverse: the one place where gradients of repeated values are summed.
#pragma once
#include "core/array.h"

namespace ashlar::autograd {

// The shape that both expand to; InputError naming `operation` if there is none.
Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view operation);
// `gradient` summed over everything that was repeated when `shape` was expanded to the gradient's shape.
Array sum_to_shape(const Array& gradient, const Shape& shape);

}  // namespace ashlar::autograd
