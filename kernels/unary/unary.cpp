#include "kernels/unary/unary.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(unary_forward);
ASHLAR_KERNEL(unary_backward);

}  // namespace ashlar::kernels
