#include "kernels/normalize/normalize.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(normalize_rows);

}  // namespace ashlar::kernels
