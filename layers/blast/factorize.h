// Factorisation of a dense matrix into BLAST factors by preconditioned gradient descent (Lee et al. 2024, Algorithm 2;
// details after the authors' released code). The objective is ½ sum_ij ‖A_ij - U_i diag(S_ij) V_jᵀ‖²; U, V and S are
// stepped in turn, each gradient solved against the Gram matrix of the other factors:
//   U_i  -= eta (U_i K - A_i: Vs) (K + delta I)⁻¹      Vs = [V_j diag(S_ij)]_j    K = Vsᵀ Vs
//   V_j  -= eta (V_j K - A_:jᵀ Us) (K + delta I)⁻¹     Us = [U_i diag(S_ij)]_i    K = Usᵀ Us
//   S_ij -= eta (H + delta I)⁻¹ (H S_ij - diag(U_iᵀ A_ij V_j))    H = (U_iᵀ U_i) * (V_jᵀ V_j)
// delta = damping * ‖A - Â‖, refreshed before each of the three; eta falls linearly from eta_first to eta_last.
// Without the preconditioner the descent stalls when the rank exceeds that of A.
#pragma once
#include "core/array.h"

namespace ashlar {

struct BlastFactors {  // f64
  Array u;             // (out_blocks, p, rank)
  Array v;             // (in_blocks, q, rank)
  Array s;             // (out_blocks, in_blocks, rank)
};

struct FactorizeOptions {
  int iterations = 300;
  double eta_first = 1.0, eta_last = 0.01;
  double damping = 0.1;
  std::uint64_t seed = 0;
};

// dense (out_blocks p, in_blocks q) f64.
BlastFactors factorize_blast(const Array& dense, Dim out_blocks, Dim in_blocks, Dim rank, const FactorizeOptions& options);

// (out_blocks p, in_blocks q) f64
Array blast_to_dense(const BlastFactors& factors);

}  // namespace ashlar
