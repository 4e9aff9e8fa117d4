#include "kernels/low_rank/low_rank.h"

#include "kernels/low_rank/cpu.h"

namespace ashlar::kernels {

namespace cuda {
void low_rank_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y);
void low_rank_backward(const Exec& exec, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                       View dv, View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, View, View)> low_rank_forward{
    "low_rank_forward", &cpu::low_rank_forward, ASHLAR_CUDA_FN(cuda::low_rank_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View, View)>
    low_rank_backward{"low_rank_backward", &cpu::low_rank_backward, ASHLAR_CUDA_FN(cuda::low_rank_backward)};

}  // namespace ashlar::kernels
