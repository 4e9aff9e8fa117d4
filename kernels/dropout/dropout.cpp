#include "kernels/dropout/dropout.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(dropout);
ASHLAR_KERNEL(drop_path);

}  // namespace ashlar::kernels
