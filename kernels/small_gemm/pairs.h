// Operands of PairGemm, and values on their way there, for the processors that multiply bf16 (multiplies_bf16()): their
// instructions add the products of two neighbours in a sum at once, so that a right operand lies in pairs of its rows.
#pragma once
#include "core/dtype.h"
#include "core/rounding.h"

namespace ashlar::kernels {

using Pair = std::uint32_t;     // the first in the lower half
constexpr Dim kPairLanes = 16;  // pairs, or sums, of a vector

// Pairs of a strip, kPairLanes columns of a right operand: of its k rows, filled up with zeros for whole tiles of AMX.
constexpr Dim strip_pairs(Dim k) { return round_up(ceil_div(k, 2), 16) * kPairLanes; }
// Pairs of a right operand (k, n).
constexpr Dim packed_pairs(Dim k, Dim n) { return ceil_div(n, kPairLanes) * strip_pairs(k); }

// Values of a row of bf16 in whole cache lines, as left operands are read fastest.
constexpr Dim whole_lines(Dim columns) { return round_up(columns, 32); }

// to (strips of columns, pairs of rows, kPairLanes) = `from` (rows, columns), with zeros beyond: packed_pairs(rows, columns).
void pack_pairs(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Pair* to);
// The same of its transpose: packed_pairs(columns, rows).
void pack_pairs_transposed(const bfloat16* from, Dim ld_from, Dim rows, Dim columns, Pair* to);

// to (rows, columns) = factor * from, rounded.
void round_rows(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns, float factor = 1);
// to (columns, rows) = the transpose of `from` (rows, columns), rounded.
void round_transposed(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns);
void round_transposed(const bfloat16* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns);

}  // namespace ashlar::kernels
