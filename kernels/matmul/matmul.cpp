#include "kernels/matmul/matmul.h"

#include "kernels/matmul/library.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(matmul);

bool multiplies_bf16(Device device) { return device.type == DeviceType::cpu ? products::library_multiplies_bf16() : true; }

}  // namespace ashlar::kernels
