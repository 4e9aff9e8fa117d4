#include "kernels/dropout/dropout.h"

namespace ashlar::kernels {
namespace cpu {
void dropout(const Exec&, ConstView x, DropMask mask, View y);
void drop_path(const Exec&, ConstView x, DropMask mask, View y);
}  // namespace cpu
namespace cuda {
void dropout(const Exec&, ConstView x, DropMask mask, View y);
void drop_path(const Exec&, ConstView x, DropMask mask, View y);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> dropout{
    "dropout", &cpu::dropout, ASHLAR_CUDA_FN(cuda::dropout)};
constinit const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> drop_path{
    "drop_path", &cpu::drop_path, ASHLAR_CUDA_FN(cuda::drop_path)};

}  // namespace ashlar::kernels
