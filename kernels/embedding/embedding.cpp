#include "kernels/embedding/embedding.h"

namespace ashlar::kernels {
namespace cpu {
void embedding_forward(const Exec&, ConstView table, ConstView ids, View y);
void embedding_backward(const Exec&, ConstView ids, ConstView dy, View dtable);
}  // namespace cpu

constinit const Kernel<void(const Exec&, ConstView table, ConstView ids, View y)> embedding_forward{
    "embedding_forward", &cpu::embedding_forward, nullptr};
constinit const Kernel<void(const Exec&, ConstView ids, ConstView dy, View dtable)> embedding_backward{
    "embedding_backward", &cpu::embedding_backward, nullptr};

}  // namespace ashlar::kernels
