// Products for other CUDA kernels.
#pragma once
#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::cuda {

void matmul(const Exec& exec, ConstView a, ConstView b, View y, MatmulOptions options);

// y_i = a_i b_i + bias_i for a (B, M, K), b (B, K, N), y (B, M, N) and bias (B, 1, N), master dtype, rows contiguous; the bias
// may be absent. row_sums (B, M), rows contiguous, receives the sums of the rows of a_i, if there is no bias.
void matmul_blocks(const Exec& exec, ConstView a, ConstView b, View y, ConstView bias, View row_sums = {});

}  // namespace ashlar::kernels::cuda
