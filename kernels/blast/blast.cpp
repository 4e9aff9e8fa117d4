#include "kernels/blast/blast.h"

#include "kernels/blast/cpu.h"

namespace ashlar::kernels {

namespace cuda {
void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View kept,
                   View y);
void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u, ConstView v, ConstView s,
                    View dx, View du, View dv, View ds, View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View)> blast_forward{
    "blast_forward", &cpu::blast_forward, ASHLAR_CUDA_FN(cuda::blast_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View,
                            View, View)>
    blast_backward{"blast_backward", &cpu::blast_backward, ASHLAR_CUDA_FN(cuda::blast_backward)};

Shape blast_kept_shape(Device device, Dim rows, Dim out_blocks, Dim in_blocks, Dim rank) {
  if (device.type == DeviceType::cpu) return {rows, in_blocks, blast_padded_rank(rank)};
  return {rows, in_blocks + out_blocks, rank};
}

}  // namespace ashlar::kernels
