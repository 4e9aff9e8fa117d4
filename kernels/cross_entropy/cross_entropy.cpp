#include "kernels/cross_entropy/cross_entropy.h"

namespace ashlar::kernels {
namespace cpu {
void cross_entropy(const Exec&, ConstView logits, CrossEntropyTargets targets, double gradient_scale, View losses,
                   View dlogits);
}  // namespace cpu
namespace cuda {
void cross_entropy(const Exec&, ConstView logits, CrossEntropyTargets targets, double gradient_scale, View losses,
                   View dlogits);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView logits, CrossEntropyTargets targets, double gradient_scale,
                            View losses, View dlogits)>
    cross_entropy{"cross_entropy", &cpu::cross_entropy, ASHLAR_CUDA_FN(cuda::cross_entropy)};

}  // namespace ashlar::kernels
