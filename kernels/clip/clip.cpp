#include "kernels/clip/clip.h"

namespace ashlar::kernels {
namespace cpu {
void clip_gradients(const Exec&, std::span<const View> gradients, ConstView squares, ClipRule rule);
}  // namespace cpu
namespace cuda {
void clip_gradients(const Exec&, std::span<const View> gradients, ConstView squares, ClipRule rule);
}  // namespace cuda

constinit const Kernel<void(const Exec&, std::span<const View> gradients, ConstView squares, ClipRule rule)> clip_gradients{
    "clip_gradients", &cpu::clip_gradients, ASHLAR_CUDA_FN(cuda::clip_gradients)};

}  // namespace ashlar::kernels
