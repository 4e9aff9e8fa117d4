// SS1 on CUDA: sketches of any type and layout with a thread for each value of the result, and the layer from sketches and
// products or from the fused kernels.
#include "kernels/device.cuh"
#include "kernels/ss1/composed.h"
#include "kernels/ss1/cuda.h"
#include "kernels/ss1/ss1.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace ss1;

Table table_of(const ConstView& shift, const ConstView& sign) {
  return {shift.as<std::int32_t>(), sign.as<std::int32_t>()};
}

// blockIdx.z is the sketch.
template <class T>
__global__ void sketch(Sizes s, Table table, const T* x, Dim ld, T* u) {
  using A = accumulate_t<T>;
  const Dim h = blockIdx.z;
  for_elements(s.rows, s.width(), [&](Dim row, Dim at) {
    const Dim group = at / s.block, k = at % s.block;
    A sum = 0;
    for (Dim i = 0; i < s.reduction; ++i) {
      const Dim entry = (h * s.groups + group) * s.reduction + i, feature = feature_of(s, group, i, k, table.shift[entry]);
      if (feature < s.features) sum += static_cast<A>(table.sign[entry]) * convert<A>(x[row * ld + feature]);
    }
    u[(h * s.rows + row) * s.width() + at] = convert<T>(sum);
  });
}

template <class T>
__global__ void sketch_gradient(Sizes s, Table table, const T* du, T* dx, Dim ld) {
  using A = accumulate_t<T>;
  for_elements(s.rows, s.features, [&](Dim row, Dim f) {
    const Dim chunk = f / s.block, group = chunk / s.reduction;
    A sum = 0;
    for (Dim h = 0; h < s.sketches; ++h) {
      const Dim entry = h * s.groups * s.reduction + chunk;
      const Dim at = group * s.block + place_of(s, f % s.block, table.shift[entry]);
      sum += static_cast<A>(table.sign[entry]) * convert<A>(du[(h * s.rows + row) * s.width() + at]);
    }
    dx[row * ld + f] = convert<T>(sum);
  });
}

bool fuses_forward(const Exec& exec, const Sizes& s, const ConstView& x, const ConstView& u, const ConstView& y) {
  if (s.sketches > 1 || !in_places(s, {x, u, y}) || !holds_sketches(exec, s)) return false;
  const Dim parts = column_parts(s, y.size(1), attribute(exec, cudaDevAttrMultiProcessorCount));
  const double rate = mma_rate(capability_major(exec));
  return use_fused(fused_forward_pays(s, y.size(1), parts, rate));
}

bool fuses_gradient(const Exec& exec, const Sizes& s, const ConstView& dy, const ConstView& dx) {
  const double rate = mma_rate(capability_major(exec));
  return s.sketches == 1 && in_places(s, {dx, dy}) && use_fused(fused_gradient_pays(s, dy.size(1), rate));
}

}  // namespace

void ss1_sketch(const Exec& exec, ConstView x, ConstView shift, ConstView sign, View u) {
  const Sizes s = check("ss1_sketch", x, u, shift, sign);
  if (u.numel() == 0) return;
  const Table table = table_of(shift, sign);
  if (in_places(s, {x, u})) return sketch_by_places(exec, s, table, x, u);
  const auto g = grid_of_rows(s.rows, s.width(), s.sketches);
  dispatch_floating(x.dtype, "ss1_sketch", [&]<class T>() {
    sketch<<<g.grid, g.block, 0, queue(exec)>>>(s, table, x.as<T>(), x.step(0), u.as<T>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void ss1_sketch_backward(const Exec& exec, ConstView du, ConstView shift, ConstView sign, View dx) {
  const Sizes s = check("ss1_sketch_backward", dx, du, shift, sign);
  if (dx.numel() == 0) return;
  const Table table = table_of(shift, sign);
  if (in_places(s, {du, dx})) return spread_by_places(exec, s, table, du, dx);
  const auto g = grid_of_rows(s.rows, s.features);
  dispatch_floating(dx.dtype, "ss1_sketch_backward", [&]<class T>() {
    sketch_gradient<<<g.grid, g.block, 0, queue(exec)>>>(s, table, du.as<T>(), dx.as<T>(), dx.step(0));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void ss1_forward(const Exec& exec, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                 View y) {
  const Sizes s = check_layer("ss1_forward", x, shift, sign, z, bias, u, y);
  if (!fuses_forward(exec, s, x, u, y)) return compose_forward(exec, x, shift, sign, z, bias, u, y);
  fused_forward(exec, s, table_of(shift, sign), x, z, bias, u, y);
}

void ss1_backward(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z,
                  View dx, View dz, View dbias) {
  const Sizes s = check_layer_gradients("ss1_backward", dy, x, u, shift, sign, z, dx, dz, dbias);
  if (!dx || !fuses_gradient(exec, s, dy, dx)) return compose_backward(exec, dy, x, u, shift, sign, z, dx, dz, dbias);
  fused_input_gradient(exec, s, table_of(shift, sign), dy, z, dx);
  parameter_gradients(exec, dy, x, u, shift, sign, dz, dbias);
}

}  // namespace ashlar::kernels::cuda
