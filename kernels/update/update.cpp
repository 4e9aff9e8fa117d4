#include "kernels/update/update.h"

#include <cmath>

#include "kernels/update/cpu.h"

namespace ashlar::kernels {

namespace cuda {
void sgd_update(const Exec&, std::span<const SgdTensor>);
void adamw_update(const Exec&, std::span<const AdamWTensor>);
void average_update(const Exec&, double decay, std::span<const AverageTensor>);
}  // namespace cuda

constinit const Kernel<void(const Exec&, std::span<const SgdTensor>)> sgd_update{"sgd_update", &cpu::sgd_update,
                                                                                 ASHLAR_CUDA_FN(cuda::sgd_update)};
constinit const Kernel<void(const Exec&, std::span<const AdamWTensor>)> adamw_update{"adamw_update", &cpu::adamw_update,
                                                                                     ASHLAR_CUDA_FN(cuda::adamw_update)};
constinit const Kernel<void(const Exec&, double, std::span<const AverageTensor>)> average_update{
    "average_update", &cpu::average_update, ASHLAR_CUDA_FN(cuda::average_update)};

std::array<double, 3> adamw_numbers(double lr, double weight_decay, double beta1, double beta2, Dim step) {
  ASHLAR_CHECK(step >= 1, "adamw_numbers: steps count from 1, got ", step);
  const auto number = static_cast<double>(step);
  return {1 - lr * weight_decay, lr / (1 - std::pow(beta1, number)), 1 / std::sqrt(1 - std::pow(beta2, number))};
}

}  // namespace ashlar::kernels
