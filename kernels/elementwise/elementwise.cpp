#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(linear_combination);
ASHLAR_KERNEL(multiply);
ASHLAR_KERNEL(divide);
ASHLAR_KERNEL(scale);
ASHLAR_KERNEL(affine);
ASHLAR_KERNEL(cast);

}  // namespace ashlar::kernels
