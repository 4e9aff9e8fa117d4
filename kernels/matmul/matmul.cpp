#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

namespace cpu {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}
namespace cuda {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, View, MatmulOptions)> matmul{
    "matmul", &cpu::matmul, ASHLAR_CUDA_FN(cuda::matmul)};

}  // namespace ashlar::kernels
