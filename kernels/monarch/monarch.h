// Monarch (Dao et al. 2022), any sizes: two block-diagonal matrices, R with b2 blocks of the inputs and L with b1 blocks
// of the outputs, and hidden features between them, c for every pair of blocks. Block (i, j) of the matrix is L_ij R_ji
// of rank c, where L_ij (p, c) are columns j of L_i and R_ji (c, q) rows i of R_j.
//   A_j = X_j R_jᵀ  (R, b1 c)      H_i = [A_ji]_j  (R, b2 c)      Y_i = H_i L_iᵀ + bias_i
// The regrouping of A into H happens in the cache: no pass over memory shuffles anything.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. r (b2, b1 c, q), l (b1, p, b2 c) and bias (m), which may be
// absent, in the master dtype (r and l in that of x too) and contiguous. p = ceil(m / b1), q = ceil(n / b2): the last
// blocks are as if x and y were padded with zeros. h (R, b1 b2 c), in the dtype of x and contiguous, receives H for the
// backward unless it is absent.
extern const Kernel<void(const Exec&, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y)>
    monarch_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of the factors and the bias are contiguous and
// in the master dtype; padding gets exactly zero. H is read for dl, which costs less than computing it again.
//   dL_i = dY_iᵀ H_i,  dH_i = dY_i L_i,  dA_ji = dH_ij,  dR_j = dA_jᵀ X_j,  dX_j = dA_j R_j
// Sums over rows are grouped by R alone, never by the number of threads.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx,
                         View dr, View dl, View dbias)>
    monarch_backward;

}  // namespace ashlar::kernels
