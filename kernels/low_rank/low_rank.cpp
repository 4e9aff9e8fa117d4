#include "kernels/low_rank/low_rank.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(low_rank_forward);
ASHLAR_KERNEL(low_rank_backward);

}  // namespace ashlar::kernels
