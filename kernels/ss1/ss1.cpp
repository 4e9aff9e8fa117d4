#include "kernels/ss1/ss1.h"

namespace ashlar::kernels {

namespace cpu {
void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u);
void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx);
}  // namespace cpu

namespace cuda {
void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u);
void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, View)> ss1_sketch{
    "ss1_sketch", &cpu::ss1_sketch, ASHLAR_CUDA_FN(cuda::ss1_sketch)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, View)> ss1_sketch_backward{
    "ss1_sketch_backward", &cpu::ss1_sketch_backward, ASHLAR_CUDA_FN(cuda::ss1_sketch_backward)};

}  // namespace ashlar::kernels
