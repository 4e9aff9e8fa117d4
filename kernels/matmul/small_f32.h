// Products of f32 matrices that are too small for the library to be fast: those of blocks, of a tile of rows at a time.
#pragma once
#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// Whether matmul_small_f32 takes it: f32, rows of b and y without gaps between elements, a by rows or by columns, sizes for
// which it is faster. By sizes and layout alone.
bool is_small_f32(const Problem& p);

// An element of the result has the same bits for any number of threads.
void matmul_small_f32(const Problem& p);

}  // namespace ashlar::kernels::products
