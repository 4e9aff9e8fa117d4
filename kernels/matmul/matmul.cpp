#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

namespace cpu {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
bool multiplies_bf16();
}
namespace cuda {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, View, MatmulOptions)> matmul{
    "matmul", &cpu::matmul, ASHLAR_CUDA_FN(cuda::matmul)};

bool multiplies_bf16(Device device) { return device.type == DeviceType::cpu ? cpu::multiplies_bf16() : true; }

}  // namespace ashlar::kernels
