// PairGemm by AMX.
#pragma once
#include "kernels/small_gemm/pair_gemm.h"

namespace ashlar::kernels {

// Whether this thread's PairGemm goes to multiply_tiles.
bool uses_tiles();

template <class C>
void multiply_tiles(const PairGemm& gemm, const bfloat16* a, const Pair* b, C* c);

}  // namespace ashlar::kernels
