// The CPU functions of the slots in update.h.
#pragma once
#include "kernels/update/update.h"

namespace ashlar::kernels::cpu {

void sgd_update(const Exec&, std::span<const SgdTensor> tensors);
void adamw_update(const Exec&, std::span<const AdamWTensor> tensors);
void average_update(const Exec&, double decay, std::span<const AverageTensor> tensors);

}  // namespace ashlar::kernels::cpu
