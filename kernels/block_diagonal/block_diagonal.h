// The forward and backward of a block-diagonal matrix, by the formulas of layers/block_diagonal/block_diagonal.h.
// With `shuffle` the blocks take the channels of x shuffled: x, padded with zeros to b q features, is seen as (b, q) and
// transposed, so that feature g q + c of x becomes c b + g and every block hears of all blocks before it.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// x (R, n), y (R, m): f64, f32 or bf16, rows contiguous. w (b, p, q), its blocks B_i, and bias (m), which may be absent,
// in the master dtype (w in that of x too) and contiguous. p = ceil(m / b), q = ceil(n / b): the last blocks are as if x
// and y were padded.
extern const Kernel<void(const Exec&, ConstView x, ConstView w, ConstView bias, bool shuffle, View y)>
    block_diagonal_forward;

// Gradients of the above, overwritten; any of them may be absent. Those of w and the bias are contiguous and in the
// master dtype; padding gets exactly zero.
// Sums over rows are grouped by R and b alone, never by the number of threads.
extern const Kernel<void(const Exec&, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                         View dbias)>
    block_diagonal_backward;

}  // namespace ashlar::kernels
