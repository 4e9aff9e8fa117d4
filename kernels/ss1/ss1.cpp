#include "kernels/ss1/ss1.h"

namespace ashlar::kernels {

namespace cpu {
void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u);
void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx);
void ss1_forward(const Exec&, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u, View y);
void ss1_backward(const Exec&, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z, View dx,
                  View dz, View dbias);
}  // namespace cpu

namespace cuda {
void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u);
void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx);
void ss1_forward(const Exec&, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u, View y);
void ss1_backward(const Exec&, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z, View dx,
                  View dz, View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, View)> ss1_sketch{
    "ss1_sketch", &cpu::ss1_sketch, ASHLAR_CUDA_FN(cuda::ss1_sketch)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, View)> ss1_sketch_backward{
    "ss1_sketch_backward", &cpu::ss1_sketch_backward, ASHLAR_CUDA_FN(cuda::ss1_sketch_backward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View)> ss1_forward{
    "ss1_forward", &cpu::ss1_forward, ASHLAR_CUDA_FN(cuda::ss1_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View)>
    ss1_backward{"ss1_backward", &cpu::ss1_backward, ASHLAR_CUDA_FN(cuda::ss1_backward)};

}  // namespace ashlar::kernels
