#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(matmul);

}  // namespace ashlar::kernels
