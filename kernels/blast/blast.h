// The forward and backward of BLAST, by the formulas of layers/blast/blast.h: W (m, n) in b1 x b2 blocks of rank r.
// 2 R r (n + m + b1 b2) operations for R rows. On the CPU rows are processed in tiles whose A and C stay in the cache.
// With one block and without s it is a matrix of low rank, W = U Vᵀ: C = A.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. u (b1, p, r), v (b2, q, r), s (b1, b2, r), which may be absent
// where b1 = b2 = 1, and bias (m), which may be absent, in the master dtype (u and v in that of x too) and contiguous.
// p = ceil(m / b1), q = ceil(n / b2): rows of the factors beyond m and n are padding and are not read. kept, contiguous and
// in the dtype of x, receives what the backward then need not compute again; it may be absent. Its shape is blast_kept_shape
// or, without s, (R, 1, r) for A.
extern const Kernel<void(const Exec&, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View kept, View y)>
    blast_forward;

// Gradients of the above, overwritten; any of them may be absent, as ds must be without s. Those of the factors and the bias
// are contiguous and in the master dtype; padding gets exactly zero. What is not kept is computed again: A by one more
// product beside the backward's four, C by the coupling alone.
// Sums over rows are grouped by R alone, never by the number of threads.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView kept, ConstView u, ConstView v, ConstView s,
                         View dx, View du, View dv, View ds, View dbias)>
    blast_backward;

// Values between the blocks of A: the rank, padded to whole cache lines of f32 of which there are not a multiple of four,
// so that the same value of all blocks does not compete for few sets of the cache. What lies in the padding is never used.
constexpr Dim blast_padded_rank(Dim rank) {
  const Dim lines = (rank + 15) / 16;
  return 16 * (lines % 4 == 0 ? lines + 1 : lines);
}

// What can be kept of R rows with s. On the CPU A, (R, b2, blast_padded_rank(r)). On CUDA A and C, (R, b2 + b1, r): there the
// forward writes C in any case.
Shape blast_kept_shape(Device device, Dim rows, Dim out_blocks, Dim in_blocks, Dim rank);

}  // namespace ashlar::kernels
