#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels {
namespace cpu {
void linear_combination(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y);
void multiply(const Exec&, ConstView a, ConstView b, View y);
void scale(const Exec&, ConstView x, double alpha, View y);
void cast(const Exec&, ConstView x, View y);
void fill(const Exec&, View y, double value);
}  // namespace cpu
namespace cuda {
void linear_combination(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y);
void multiply(const Exec&, ConstView a, ConstView b, View y);
void scale(const Exec&, ConstView x, double alpha, View y);
void cast(const Exec&, ConstView x, View y);
void fill(const Exec&, View y, double value);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y)>
    linear_combination{"linear_combination", &cpu::linear_combination, ASHLAR_CUDA_FN(cuda::linear_combination)};
constinit const Kernel<void(const Exec&, ConstView a, ConstView b, View y)> multiply{
    "multiply", &cpu::multiply, ASHLAR_CUDA_FN(cuda::multiply)};
constinit const Kernel<void(const Exec&, ConstView x, double alpha, View y)> scale{
    "scale", &cpu::scale, ASHLAR_CUDA_FN(cuda::scale)};
constinit const Kernel<void(const Exec&, ConstView x, View y)> cast{"cast", &cpu::cast, ASHLAR_CUDA_FN(cuda::cast)};
constinit const Kernel<void(const Exec&, View y, double value)> fill{"fill", &cpu::fill, ASHLAR_CUDA_FN(cuda::fill)};

}  // namespace ashlar::kernels
