// What the coupling's kernels share: the sizes of a call, and how its blocks are taken.
#pragma once
#include <algorithm>

#include "kernels/blast/coupling.h"
#include "kernels/rounding.h"

namespace ashlar::kernels::blast {

// Of one call: sizes, and steps in elements.
struct Coupling {
  Dim rows, rank, inputs, outputs;
  Dim in_row, in_block, out_row, out_block;
  Dim s_in, s_out;  // in the packed coupling
};

// What is read again and again should stay in the first-level cache.
constexpr Dim kInputBytes = 12 * 1024, kGradientBytes = 40 * 1024;

// `count` blocks in nearly equal groups of at most `most`: 6 by 4 is 3 + 3, not 4 + 2.
constexpr Dim group_size(Dim count, Dim most) {
  return ceil_div(count, ceil_div(count, most));
}

// For bf16, where the processor multiplies it (coupling_pairs.cpp).
bool couples_pairs(DType activations);
void couple_pairs(const Coupling& g, const bfloat16* in, const bfloat16* packed, bfloat16* out);
void gradient_pairs(const Coupling& g, const bfloat16* in, const bfloat16* d_out, bool accumulate, float* ds);

}  // namespace ashlar::kernels::blast
