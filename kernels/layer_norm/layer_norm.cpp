#include "kernels/layer_norm/layer_norm.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(layer_norm_forward);
ASHLAR_KERNEL(layer_norm_backward);

}  // namespace ashlar::kernels
