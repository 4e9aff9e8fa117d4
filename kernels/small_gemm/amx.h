// PairGemm by AMX.
#pragma once
#include "kernels/small_gemm/pair_gemm.h"

namespace ashlar::kernels {

// Whether this thread's PairGemm goes to multiply_amx.
bool uses_amx();

template <class C>
void multiply_amx(const PairGemm& gemm, const bfloat16* a, const Pair* b, C* c);

}  // namespace ashlar::kernels
