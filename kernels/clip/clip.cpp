#include "kernels/clip/clip.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(clip_gradients);

}  // namespace ashlar::kernels
