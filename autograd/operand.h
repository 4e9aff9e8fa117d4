// Weights as products take them.
#pragma once
#include "core/array.h"
#include "kernels/matmul/matmul.h"

namespace ashlar::autograd {

// A weight for products with activations of `dtype`: where the device multiplies bf16, a copy in it, made once for forward and
// backward instead of in each product.
inline Array as_operand(const Array& weight, DType dtype) {
  return dtype == DType::bf16 && kernels::multiplies_bf16(weight.device()) ? weight.to(dtype) : weight;
}

}  // namespace ashlar::autograd
