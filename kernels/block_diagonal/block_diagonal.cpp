#include "kernels/block_diagonal/block_diagonal.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(block_diagonal_forward);
ASHLAR_KERNEL(block_diagonal_backward);

}  // namespace ashlar::kernels
