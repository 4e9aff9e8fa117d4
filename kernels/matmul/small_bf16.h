// Products of bf16 matrices that are too small for the library, which packs its operands for large ones and rounds its
// result in a second pass: those of blocks, of a tile of rows at a time. By AVX-512 or AMX.
#pragma once
#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// Whether matmul_small_bf16 takes it: on a processor that multiplies bf16, operands in bf16, rows of b and y without gaps
// between elements, a by rows or by columns, sizes for which it is faster.
bool is_small_bf16(const Problem& p);

// An element of the result has the same bits for any number of threads.
void matmul_small_bf16(const Problem& p);

}  // namespace ashlar::kernels::products
