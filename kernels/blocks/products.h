// Products of features in blocks with one matrix a block, each run of like blocks as a batch: what a block-diagonal matrix and
// each of Monarch's factors do, on every device.
#pragma once
#include "core/device.h"
#include "kernels/blocks/views.h"

namespace ashlar::kernels {

// y_i = x_i W_i + bias_i:  x (R, in), w (blocks, in.length, out.length), y (R, out), bias (out) or absent. The padding of w is
// not read.
void multiply_blocks(const Exec& exec, const Side& in, const Side& out, const ConstView& x, const ConstView& w,
                     const ConstView& bias, const View& y);

// dW_i = or += dy_iᵀ x_i:  dw (blocks, out.length, in.length), whose padding is not written. `row_sums` (out), unless absent,
// receives the sums of dy over the rows.
void block_gradients(const Exec& exec, const Side& in, const Side& out, const ConstView& x, const ConstView& dy, bool accumulate,
                     const View& dw, const View& row_sums);

}  // namespace ashlar::kernels
