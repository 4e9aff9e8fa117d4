#include "kernels/monarch/monarch.h"

namespace ashlar::kernels {

namespace cpu {
void monarch_forward(const Exec&, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y);
void monarch_backward(const Exec&, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias);
}  // namespace cpu

namespace cuda {
void monarch_forward(const Exec&, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y);
void monarch_backward(const Exec&, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, View, View)> monarch_forward{
    "monarch_forward", &cpu::monarch_forward, ASHLAR_CUDA_FN(cuda::monarch_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View, View)>
    monarch_backward{"monarch_backward", &cpu::monarch_backward, ASHLAR_CUDA_FN(cuda::monarch_backward)};

}  // namespace ashlar::kernels
