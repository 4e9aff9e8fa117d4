#include "kernels/cross_entropy/cross_entropy.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(cross_entropy);

}  // namespace ashlar::kernels
