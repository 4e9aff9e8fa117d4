// Products by oneDNN, which chooses its instructions within the limit of kernels/isa.h.
#pragma once
#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// Whether the library multiplies bf16: where the processor does. Elsewhere it refuses it.
bool library_multiplies_bf16();
// Whether the processor has AMX. The library has then asked the system for the right to use it, for all threads.
bool has_tiles();

// Whether the library takes the last two dimensions without a copy: rows or columns without gaps between elements.
bool has_unit_stride(const ConstView& v);

// A product of operands with a unit stride, of f32 or, where it multiplies it, bf16, into rows of either. It is the caller's
// thread alone that works if it is one of a parallel region.
void run_library(Problem p);

}  // namespace ashlar::kernels::products
