#include "kernels/gelu/gelu.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(gelu_forward);
ASHLAR_KERNEL(gelu_backward);

}  // namespace ashlar::kernels
