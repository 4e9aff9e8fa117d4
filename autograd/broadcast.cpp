#include "autograd/broadcast.h"

#include "kernels/reduce/reduce.h"

namespace ashlar::autograd {

Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view operation) {
  const Shape& longer = a.ndim() >= b.ndim() ? a : b;
  const Shape& shorter = a.ndim() >= b.ndim() ? b : a;
  Shape result = longer;
  const int added = longer.ndim() - shorter.ndim();
  for (int d = 0; d < shorter.ndim(); ++d) {
    const Dim x = longer[d + added], y = shorter[d];
    ASHLAR_CHECK(x == y || x == 1 || y == 1, operation, ": shapes ", a, " and ", b, " do not broadcast");
    result = result.with(d + added, x == 1 ? y : x);
  }
  return result;
}

Array sum_to_shape(const Array& gradient, const Shape& shape, DType dtype) {
  if (gradient.shape() == shape) return gradient.to(dtype);
  const int added = gradient.ndim() - shape.ndim();
  Shape padded = gradient.shape();
  for (int d = 0; d < gradient.ndim(); ++d) padded = padded.with(d, d < added ? 1 : shape[d - added]);
  const Array sum = Array::empty(padded, dtype, gradient.device());
  kernels::sum_to(gradient.exec(), gradient, sum);
  return sum.reshape(shape);
}

}  // namespace ashlar::autograd
