#include "kernels/gelu/gelu.h"

namespace ashlar::kernels {
namespace cpu {
void gelu_forward(const Exec&, ConstView x, Gelu kind, View y);
void gelu_backward(const Exec&, ConstView x, ConstView dy, Gelu kind, View dx);
}  // namespace cpu
namespace cuda {
void gelu_forward(const Exec&, ConstView x, Gelu kind, View y);
void gelu_backward(const Exec&, ConstView x, ConstView dy, Gelu kind, View dx);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView x, Gelu kind, View y)> gelu_forward{
    "gelu_forward", &cpu::gelu_forward, ASHLAR_CUDA_FN(cuda::gelu_forward)};
constinit const Kernel<void(const Exec&, ConstView x, ConstView dy, Gelu kind, View dx)> gelu_backward{
    "gelu_backward", &cpu::gelu_backward, ASHLAR_CUDA_FN(cuda::gelu_backward)};

}  // namespace ashlar::kernels
