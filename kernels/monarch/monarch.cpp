#include "kernels/monarch/monarch.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(monarch_forward);
ASHLAR_KERNEL(monarch_backward);

}  // namespace ashlar::kernels
