#include "kernels/block_diagonal/block_diagonal.h"

namespace ashlar::kernels {

namespace cpu {
void block_diagonal_forward(const Exec&, ConstView x, ConstView w, ConstView bias, bool shuffle, View y);
void block_diagonal_backward(const Exec&, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias);
}  // namespace cpu

namespace cuda {
void block_diagonal_forward(const Exec&, ConstView x, ConstView w, ConstView bias, bool shuffle, View y);
void block_diagonal_backward(const Exec&, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, bool, View)> block_diagonal_forward{
    "block_diagonal_forward", &cpu::block_diagonal_forward, ASHLAR_CUDA_FN(cuda::block_diagonal_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, bool, View, View, View)>
    block_diagonal_backward{"block_diagonal_backward", &cpu::block_diagonal_backward,
                            ASHLAR_CUDA_FN(cuda::block_diagonal_backward)};

}  // namespace ashlar::kernels
