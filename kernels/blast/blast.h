// BLAST (Lee et al. 2024): a matrix W (m, n) in b1 x b2 blocks W_ij = U_i diag(s_ij) V_jᵀ of shared factors.
//   A_j = X_j V_j,  C_i = Σ_j s_ij * A_j,  Y_i = C_i U_iᵀ + bias_i
// 2 R r (n + m + b1 b2) operations for R rows. The rows are processed in tiles whose A and C stay in the cache.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. u (b1, p, r), v (b2, q, r), s (b1, b2, r) and bias (m), which
// may be absent, in the master dtype and contiguous. p = ceil(m / b1), q = ceil(n / b2): rows of the factors beyond m
// and n are padding and are not read. a (R, b2, r), out of (R, b2, blast_padded_rank(r)) and in the dtype of x, receives A
// for the backward unless it is absent, as it must be on CUDA.
extern const Kernel<void(const Exec&, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View a, View y)>
    blast_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of the factors and the bias are contiguous and
// in the master dtype; padding gets exactly zero. A is read, or computed again from x where it is absent, which costs as
// much as one of the four products of the backward. C is always computed again: its arithmetic is the coupling's alone.
//   dC_i = dY_i U_i,  dA_j = Σ_i s_ij * dC_i,  dX_j = dA_j V_jᵀ
//   dU_i = dY_iᵀ C_i,  ds_ij = Σ_t dC_i * A_j,  dV_j = X_jᵀ dA_j
// Sums over rows are grouped by R alone, never by the number of threads.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView a, ConstView u, ConstView v, ConstView s,
                         View dx, View du, View dv, View ds, View dbias)>
    blast_backward;

// Values between the blocks of A: the rank, padded to whole cache lines of f32 of which there are not a multiple of four,
// so that the same value of all blocks does not compete for few sets of the cache. What lies in the padding is never used.
constexpr Dim blast_padded_rank(Dim rank) {
  const Dim lines = (rank + 15) / 16;
  return 16 * (lines % 4 == 0 ? lines + 1 : lines);
}

}  // namespace ashlar::kernels
