// The parts of layer normalisation on CUDA.
#pragma once
#include "kernels/device.cuh"

namespace ashlar::kernels::layer_norm {

// A matrix with contiguous rows.
template <class T>
struct Rows {
  T* data = nullptr;
  Dim ld = 0;
  __device__ T* row(Dim r) const { return data + r * ld; }
};
template <class T, class AnyView>
Rows<T> rows_of(const AnyView& view) {
  if (!view) return {};
  return {static_cast<T*>(view.data), view.step(0)};
}

// Whether rows fit into the registers of a warp, and so cross memory once; all of `matrices` and the weight and bias
// (`factors`) in vectors of 16 bytes.
bool fits_registers(std::initializer_list<ConstView> matrices, std::initializer_list<ConstView> factors);
// The operands of layer_norm_forward and layer_norm_backward, checked; partial (2, blocks, C) receives the sums of each
// block for dweight and dbias, unless it is absent.
void forward_in_registers(const Exec& exec, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                          View sum, View y, View mean, View rstd);
void backward_in_registers(const Exec& exec, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                           ConstView add, View dx, View partial, unsigned blocks);

}  // namespace ashlar::kernels::layer_norm
