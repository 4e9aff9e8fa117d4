// SS1 on CUDA in bf16: sketches eight places at a time, by themselves and fused into the products.
#pragma once
#include <initializer_list>

#include "core/device.h"
#include "kernels/ss1/places.h"

namespace ashlar::kernels::ss1 {

// shift and sign (H, G, c)
struct Table {
  const std::int32_t *shift, *sign;
};

// Whether all that is `moved` is in bf16 and in whole vectors of places, as all of the following needs.
bool in_places(const Sizes& sizes, std::initializer_list<ConstView> moved);

void sketch_by_places(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& x, const View& u);
// dx = the gradient of the sketch at du.
void spread_by_places(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& du, const View& dx);

// The rest is for one sketch.

// Whether the device holds a row tile of u, as the forward needs.
bool holds_sketches(const Exec& exec, const Sizes& sizes);

// u = sketch(x), written only if it is given, and y = u zᵀ + bias.
void fused_forward(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& x, const ConstView& z,
                   const ConstView& bias, const View& u, const View& y);
// dx = the gradient of the sketch at du = dy z.
void fused_input_gradient(const Exec& exec, const Sizes& sizes, const Table& table, const ConstView& dy,
                          const ConstView& z, const View& dx);

}  // namespace ashlar::kernels::ss1
