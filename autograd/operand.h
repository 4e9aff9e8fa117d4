// Weights as products take them.
#pragma once
#include "core/array.h"
#include "kernels/matmul/matmul.h"

namespace ashlar::autograd {

// Whether products with activations of `dtype` want weights in it too: in bf16, where the device multiplies that.
inline bool wants_weights_in(DType dtype, Device device) { return dtype == DType::bf16 && kernels::multiplies_bf16(device); }

// A weight for products with activations of `dtype`: where they want it so a copy, made once for forward and backward instead of
// in each product.
inline Array as_operand(const Array& weight, DType dtype) {
  return wants_weights_in(dtype, weight.device()) ? weight.to(dtype) : weight;
}

}  // namespace ashlar::autograd
