#include "kernels/layer_norm/layer_norm.h"

namespace ashlar::kernels {
namespace cpu {
void layer_norm_forward(const Exec&, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                        View sum, View y, View mean, View rstd);
void layer_norm_backward(const Exec&, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias);
}  // namespace cpu
namespace cuda {
void layer_norm_forward(const Exec&, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                        View sum, View y, View mean, View rstd);
void layer_norm_backward(const Exec&, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                            View sum, View y, View mean, View rstd)>
    layer_norm_forward{"layer_norm_forward", &cpu::layer_norm_forward, ASHLAR_CUDA_FN(cuda::layer_norm_forward)};
constinit const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                            ConstView add, View dx, View dweight, View dbias)>
    layer_norm_backward{"layer_norm_backward", &cpu::layer_norm_backward, ASHLAR_CUDA_FN(cuda::layer_norm_backward)};

}  // namespace ashlar::kernels
