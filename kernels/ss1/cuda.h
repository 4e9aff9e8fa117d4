// The products of one sketch on CUDA with the sketch fused into them, where can_fuse; bf16.
#pragma once
#include <initializer_list>

#include "core/device.h"
#include "kernels/ss1/sizes.h"

namespace ashlar::kernels::ss1 {

// shift and sign of the only sketch (G, c)
struct Table {
  const std::int32_t *shift, *sign;
};

// `moved` are the operands in bf16: they have to allow vectors of eight values.
bool can_fuse(const Sizes& sizes, std::initializer_list<ConstView> moved);
// Whether the device holds a row tile of u, as the forward needs.
bool holds_sketches(const Exec& exec, const Sizes& sizes);

// u = sketch(x), written only if it is given, and y = u zᵀ + bias.
void fused_forward(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& x, const ConstView& z,
                   const ConstView& bias, const View& u, const View& y);
// dx = the gradient of the sketch at du = dy z.
void fused_input_gradient(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& dy,
                          const ConstView& z, const View& dx);

}  // namespace ashlar::kernels::ss1
