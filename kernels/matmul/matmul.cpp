#include "kernels/matmul/matmul.h"

#include "kernels/matmul/library.h"

namespace ashlar::kernels {

namespace cpu {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}  // namespace cpu
namespace cuda {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, View, MatmulOptions)> matmul{
    "matmul", &cpu::matmul, ASHLAR_CUDA_FN(cuda::matmul)};

bool multiplies_bf16(Device device) { return device.type == DeviceType::cpu ? products::library_multiplies_bf16() : true; }
bool has_tiles() { return products::library_has_tiles(); }

}  // namespace ashlar::kernels
