// What the coupling's kernels share: the sizes of a call, and how its blocks are taken.
#pragma once
#include <algorithm>
#include <type_traits>

#include <hwy/base.h>

#include "core/rounding.h"
#include "kernels/blast/coupling.h"
#include "kernels/blast/fetch.h"

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

// At most kBlock input blocks or rows at a time, and kBlock or kWideBlock output blocks: with their operands, the
// accumulators of kWideBlock x kBlock fill 32 registers.
constexpr int kBlock = 4, kWideBlock = 6;

// body(std::integral_constant<int, count>()) for a count from 1 to kWideBlock.
template <class Body>
HWY_INLINE void with_count(Dim count, const Body& body) {
  if (count == 6) body(std::integral_constant<int, 6>());
  else if (count == 5) body(std::integral_constant<int, 5>());
  else if (count == 4) body(std::integral_constant<int, 4>());
  else if (count == 3) body(std::integral_constant<int, 3>());
  else if (count == 2) body(std::integral_constant<int, 2>());
  else body(std::integral_constant<int, 1>());
}

// body(k, row, rows, output, outputs): `step` values of the rank from k on, at most `run` rows and `most` output blocks. A
// `line` of the rank is taken at a time, whose s stays in the first-level cache, and a run of rows, so that their values
// do too.
template <class Body>
HWY_INLINE void for_each_part(const Coupling& g, Dim most, Dim line, Dim step, Dim run, const Body& body) {
  const Dim outputs = group_size(g.outputs, most), rank = round_up(g.rank, kGroup);
  for (Dim first = 0; first < rank; first += line) {
    for (Dim row = 0; row < g.rows; row += run) {
      for (Dim o = 0; o < g.outputs; o += outputs) {
        for (Dim k = first; k < std::min(first + line, rank); k += step) {
          body(k, row, std::min(run, g.rows - row), o, std::min(outputs, g.outputs - o));
        }
      }
    }
  }
}

// Blocks of `block_rows` rows and `most` output blocks in which couple() takes rows, `step` values of the rank at a time.
inline Dim coupled_blocks(const Coupling& g, Dim most, Dim block_rows, Dim step) {
  return ceil_div(g.rank, step) * (g.rows / block_rows) * ceil_div(g.outputs, group_size(g.outputs, most));
}

// Rows that couple(), and that couple_gradient(), takes at a time.
inline Dim coupled_rows(const Coupling& g, int block_rows) {
  return std::max<Dim>(1, kInputBytes / (kLineBytes * g.inputs * block_rows)) * block_rows;
}
inline Dim gradient_rows(const Coupling& g) {
  return std::clamp<Dim>(kGradientBytes / (kLineBytes * (g.inputs + g.outputs)) / 2 * 2, 8, 64);
}

// For bf16, where the processor multiplies it (coupling_pairs.cpp).
bool couples_pairs(DType activations);
void couple_pairs(const Coupling& g, const bfloat16* in, const bfloat16* packed, bfloat16* out, const ConstView& next);
void gradient_pairs(const Coupling& g, const bfloat16* in, const bfloat16* d_out, bool accumulate, float* ds);

}  // namespace ashlar::kernels::blast
