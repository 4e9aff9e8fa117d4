#include "kernels/reduce/reduce.h"

namespace ashlar::kernels {
namespace cpu {
void sum_to(const Exec&, ConstView x, View y);
void sum_of_squares(const Exec&, ConstView x, View y);
void sums_of_squares(const Exec&, std::span<const ConstView> xs, View y);
}  // namespace cpu
namespace cuda {
void sum_to(const Exec&, ConstView x, View y);
void sum_of_squares(const Exec&, ConstView x, View y);
void sums_of_squares(const Exec&, std::span<const ConstView> xs, View y);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView x, View y)> sum_to{"sum_to", &cpu::sum_to, ASHLAR_CUDA_FN(cuda::sum_to)};
constinit const Kernel<void(const Exec&, ConstView x, View y)> sum_of_squares{
    "sum_of_squares", &cpu::sum_of_squares, ASHLAR_CUDA_FN(cuda::sum_of_squares)};

constinit const Kernel<void(const Exec&, std::span<const ConstView> xs, View y)> sums_of_squares{
    "sums_of_squares", &cpu::sums_of_squares, ASHLAR_CUDA_FN(cuda::sums_of_squares)};

}  // namespace ashlar::kernels
