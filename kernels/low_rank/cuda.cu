#include "kernels/blast/cuda.h"
#include "kernels/low_rank/as_blocks.h"

namespace ashlar::kernels::cuda {

void low_rank_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y) {
  low_rank::forward(blast::cuda_forward, exec, x, u, v, bias, z, y);
}

void low_rank_backward(const Exec& exec, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                       View dv, View dbias) {
  low_rank::backward(blast::cuda_backward, exec, dy, x, z, u, v, dx, du, dv, dbias);
}

}  // namespace ashlar::kernels::cuda
