#include "kernels/embedding/embedding.h"

namespace ashlar::kernels {
namespace cpu {
void embedding_forward(const Exec&, ConstView table, ConstView ids, View y);
void embedding_backward(const Exec&, ConstView ids, ConstView dy, View dtable);
}  // namespace cpu
namespace cuda {
void embedding_forward(const Exec&, ConstView table, ConstView ids, View y);
void embedding_backward(const Exec&, ConstView ids, ConstView dy, View dtable);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView table, ConstView ids, View y)> embedding_forward{
    "embedding_forward", &cpu::embedding_forward, ASHLAR_CUDA_FN(cuda::embedding_forward)};
constinit const Kernel<void(const Exec&, ConstView ids, ConstView dy, View dtable)> embedding_backward{
    "embedding_backward", &cpu::embedding_backward, ASHLAR_CUDA_FN(cuda::embedding_backward)};

}  // namespace ashlar::kernels
