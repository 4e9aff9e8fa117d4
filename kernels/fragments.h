// Where the values of a tensor-core product lie: mma.m16n8k16 on bf16 with f32 sums, whose operands are spread over the
// 32 lanes of a warp (PTX ISA, "Matrix Fragments for mma.m16n8k16"), and ldmatrix, which spreads them. A lane belongs to
// group lane / 4 and is number lane % 4 in it.
#pragma once

namespace ashlar::kernels::tensor {

constexpr int kMmaM = 16, kMmaN = 8, kMmaK = 16;

// Result C (16, 8): value i of 4 of a lane.
constexpr int c_row(int lane, int i) { return lane / 4 + (i / 2) * 8; }
constexpr int c_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

// Two results that lie side by side, in bf16: the registers of a lane's row of each, of which half the lanes exchange one
// with lane ^ 16. Register i of 2 then is at this row of eight and this column of sixteen (and the next), so that the warp
// writes four whole rows at a time: 32 bytes of each, a sector of memory.
constexpr int sector_row(int lane, int i) { return lane / 4 % 4 + 4 * i; }
constexpr int sector_column(int lane) { return lane / 16 * 8 + lane % 4 * 2; }

// ldmatrix reads four 8 x 8 matrices; lane l names where row l % 8 of matrix l / 8 begins. As the left operand A (16, 16),
// and, transposed on the way, as two right operands (16, 8) that lie side by side: a 16 x 16 tile by rows, whose matrices
// are upper left, lower left, upper right, lower right.
constexpr int square_row(int lane) { return lane % 16; }
constexpr int square_column(int lane) { return lane / 16 * 8; }

// As right operands of two steps of K: a tile of 8 rows by 32 columns that is stored as Bᵀ (n, k).
constexpr int flat_row(int lane) { return lane % 8; }
constexpr int flat_column(int lane) { return lane / 8 * 8; }

// The order in which groups of four lanes write rows of four vectors into a tile (mma.cuh): two groups write at a time, and
// rows that are four apart lie in different banks.
constexpr int row_in_turn(int turn) { return turn / 8 * 8 + turn % 2 * 4 + turn % 8 / 2; }

}  // namespace ashlar::kernels::tensor
