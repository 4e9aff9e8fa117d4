#include "kernels/softmax/softmax.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(softmax_forward);
ASHLAR_KERNEL(softmax_backward);

}  // namespace ashlar::kernels
