// Products for other CPU kernels.
#pragma once
#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::cpu {

// y_i = a_i b_i + bias_i for a (B, M, K), b (B, K, N), y (B, M, N) and bias (B, 1, N), master dtype, rows contiguous; the bias
// may be absent.
void matmul_blocks(const Exec& exec, ConstView a, ConstView b, View y, ConstView bias);

}  // namespace ashlar::kernels::cpu
