#include "kernels/attention/attention.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(attention_forward);
ASHLAR_KERNEL(attention_backward);

}  // namespace ashlar::kernels
