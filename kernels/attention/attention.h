// Scaled dot-product attention without the T x T matrix: what is saved for backward is the logarithm of each
// row's softmax denominator (FlashAttention, Dao et al. 2022); probabilities are recomputed tile by tile.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

// o = softmax(scale * q kᵀ) v, row by row.
//   q, o (B, H, T, D), k, v (B, H, K, D) with K >= T: any strides with a contiguous last dimension (slices of a packed
//   (B, T, 3, H, D) array). The queries are those of the last T of the K positions; fewer than K when a decoder goes on
//   from keys and values that it has kept.
//   lse (B, H, T), master dtype: log(sum(exp(scale * q kᵀ))) per row; may be absent when no backward follows.
// `causal`: position t sees positions up to t. A later position of the same tile gets probability 0, but its row of v is still
// multiplied by it: a NaN or infinity there may reach t, one in k cannot. Dtypes f64, f32, bf16.
extern const Kernel<void(const Exec&, ConstView q, ConstView k, ConstView v, double scale, bool causal, View o, View lse)>
    attention_forward;

// Gradients of the above, for K = T; dq, dk, dv (B, H, T, D) are overwritten.
extern const Kernel<void(const Exec&, ConstView d_o, ConstView q, ConstView k, ConstView v, ConstView o, ConstView lse,
                         double scale, bool causal, View dq, View dk, View dv)>
    attention_backward;

}  // namespace ashlar::kernels
