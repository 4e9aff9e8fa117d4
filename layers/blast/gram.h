// Gram matrices of BLAST (blast.h) from the factors alone. W is linear in each of U, V and S; these say how far it
// moves when one of them does, and so which steps are equally long for W. They precondition the descent that projects
// (factorize.h) and that which trains (ParamInfo::gram).
#pragma once
#include "core/array.h"

namespace ashlar {

// For the factors of one side: sum_o (F_oᵀ F_o) * (s_bo s_boᵀ) for each of its blocks b, where F are the factors of
// the other side. For U_i give V and S, for V_j give U and S transposed.
//   others (other_blocks, size, r), couplings (blocks, other_blocks, r) -> (blocks, r, r)
Array blast_factor_gram(const Array& others, const Array& couplings);

// For the couplings: (U_iᵀ U_i) * (V_jᵀ V_j) for each pair of blocks, in the order of S.
//   u (out_blocks, p, r), v (in_blocks, q, r) -> (out_blocks, in_blocks, r, r)
Array blast_coupling_gram(const Array& u, const Array& v);

}  // namespace ashlar
