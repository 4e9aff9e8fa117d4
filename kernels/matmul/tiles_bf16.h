// Products of bf16 matrices with many rows and a small b, on processors with AMX: those of blocks, for which the library
// packs its operands and rounds its result in passes of their own. The library uses AMX too, and has the other small products.
#pragma once
#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// Whether matmul_tiles_bf16 takes it, on a processor with AMX: bf16 operands, rows of a, b and y without gaps between
// elements, sizes for which it is faster. By sizes and layout alone.
bool is_tiles_bf16(const Problem& p);

// The bias may be (B, 1, N), for a batch of B. An element of the result has the same bits for any number of threads.
void matmul_tiles_bf16(const Problem& p);

}  // namespace ashlar::kernels::products
