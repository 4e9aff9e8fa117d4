#include "kernels/ss1/ss1.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(ss1_sketch);
ASHLAR_KERNEL(ss1_sketch_backward);
ASHLAR_KERNEL(ss1_forward);
ASHLAR_KERNEL(ss1_backward);

}  // namespace ashlar::kernels
