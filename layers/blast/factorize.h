// Factorisation of a dense matrix A into BLAST factors. The objective is ½ sum_ij ‖A_ij - U_i diag(S_ij) V_jᵀ‖²; U, V
// and S are stepped in turn, each by its gradient and the Gram matrix of the other factors (gram.h):
//   U_i  -= eta (U_i K - A_i: Vs) (K + delta I)⁻¹      Vs = [V_j diag(S_ij)]_j    K = Vsᵀ Vs
//   V_j  -= eta (V_j K - A_:jᵀ Us) (K + delta I)⁻¹     Us = [U_i diag(S_ij)]_i    K = Usᵀ Us
//   S_ij -= eta (H + delta I)⁻¹ (H S_ij - diag(U_iᵀ A_ij V_j))    H = (U_iᵀ U_i) * (V_jᵀ V_j)
//
// precgd, preconditioned gradient descent (Lee et al. 2024, Algorithm 2; details after the authors' released code):
//   delta = damping * ‖A - Â‖, refreshed before each of the three; eta falls linearly from 1 to 0.01. Without
//   the preconditioner (descent = plain) the steps are eta over the largest eigenvalue of K or H, the longest that
//   Theorem 1 of the paper allows; they stall when the rank exceeds that of A.
// als, alternating least squares: eta = 1 and next to no damping, which makes each step the exact minimum. Its sweeps
//   are accelerated (anderson.h) and end when they no longer help.
// Both end in such sweeps: the descent comes near a matrix that has the structure, the sweeps recover it.
#pragma once
#include <functional>

#include "core/array.h"
#include "layers/projection.h"

namespace ashlar {

struct BlastFactors {  // f64
  Array u;             // (out_blocks, p, rank)
  Array v;             // (in_blocks, q, rank)
  Array s;             // (out_blocks, in_blocks, rank)
};

struct FactorizeOptions {
  enum class Descent : std::uint8_t { none, plain, preconditioned };
  Descent descent = Descent::preconditioned;
  int iterations = 300;  // of the descent
  double damping = 0.1;
  int sweeps = 200;  // at most, of accelerated alternating least squares after the descent
  int attempts = 1;  // with other starts, until one gets below kExact; the best is taken
  std::uint64_t seed = 0;
  // Called with ‖A - Â‖ / ‖A‖ after each iteration of the descent and each sweep.
  std::function<void(double error)> observe = {};

  static constexpr double kExact = 1e-10;
};
// For a matrix of `size` entries: small ones, where a start may end in a local minimum and another costs little, get more
// of them.
FactorizeOptions factorize_options(Factorizer method, Dim size, Dim rank);

// dense (out_blocks p, in_blocks q) f64.
BlastFactors factorize_blast(const Array& dense, Dim out_blocks, Dim in_blocks, Dim rank, const FactorizeOptions& options);

// Makes factors of weighted_matrix(dense, …, in_blocks) those of `dense`. With `input_moments` (in_blocks q, in_blocks q) V is
// found for the U and S that there are, still as if the inputs of different blocks had nothing to do with each other; then, or
// at once if there are none, U is found for V and S, by the error that all moments tell.
void undo_weighting(const BlastFactors& factors, const Array& dense, const Array& input_moments);

// (out_blocks p, in_blocks q) f64
Array blast_to_dense(const BlastFactors& factors);

}  // namespace ashlar
