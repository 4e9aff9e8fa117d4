#include "kernels/embedding/embedding.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(embedding_forward);
ASHLAR_KERNEL(embedding_backward);

}  // namespace ashlar::kernels
