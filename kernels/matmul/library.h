// Products by oneDNN, which chooses its instructions within the limit of kernels/isa.h.
#pragma once
#include "kernels/matmul/problem.h"

namespace ashlar::kernels {

// Whether a UseAmx may be asked for it: where the library has it. That has then asked the system for the right to use AMX, for
// all threads.
bool has_amx();

namespace products {

// Whether the library takes the last two dimensions of an operand without a copy: rows or columns without gaps between
// elements; of a result: rows without gaps. A single row of an operand and a single column of a result must be contiguous,
// because oneDNN 3.7 takes those with gaps as if they were.
bool takes_operand(const ConstView& v);
bool takes_result(const View& y);

// A product of operands and a result that it takes, of f32 or, where the CPU multiplies_bf16(), bf16. In a parallel region the
// thread that calls it does all the work. Elsewhere, for a product of more than a million operations, the library may split the
// inner dimension among threads, so that their number moves the last bit: dense layers, SS1 with one sketch, and structured
// layers where one tile or range of rows has all threads (a forward of at most 32 rows, a backward of fewer than 256; of these it
// was seen in bf16 only). Forbidding it would leave such products on one thread.
void run_library(Problem p);

}  // namespace products
}  // namespace ashlar::kernels
