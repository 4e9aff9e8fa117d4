#include "kernels/update/update.h"

#include <cmath>

namespace ashlar::kernels {

ASHLAR_KERNEL(sgd_update);
ASHLAR_KERNEL(adamw_update);
ASHLAR_KERNEL(ema_update);

std::array<double, 3> adamw_numbers(double lr, double weight_decay, double beta1, double beta2, Dim step) {
  ASHLAR_CHECK(step >= 1, "adamw_numbers: steps count from 1, got ", step);
  const auto number = static_cast<double>(step);
  return {1 - lr * weight_decay, lr / (1 - std::pow(beta1, number)), 1 / std::sqrt(1 - std::pow(beta2, number))};
}

}  // namespace ashlar::kernels
