#include "kernels/normalize/normalize.h"

namespace ashlar::kernels {
namespace cpu {
void normalize_rows(const Exec&, ConstView x, ConstView target, double eps, View y);
}  // namespace cpu
namespace cuda {
void normalize_rows(const Exec&, ConstView x, ConstView target, double eps, View y);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView x, ConstView target, double eps, View y)> normalize_rows{
    "normalize_rows", &cpu::normalize_rows, ASHLAR_CUDA_FN(cuda::normalize_rows)};

}  // namespace ashlar::kernels
