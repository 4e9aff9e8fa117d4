#include "kernels/reduce/reduce.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(sum_to);
ASHLAR_KERNEL(sums_of_squares);

}  // namespace ashlar::kernels
