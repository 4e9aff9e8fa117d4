// SOAP: Adam in the eigenbases of Shampoo (Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam").
#pragma once
#include "optim/kronecker.h"
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

struct SoapOptions : MatrixOptions {
  SoapOptions() {
    lr = 3e-3;
    weight_decay = 0.01;
    adam = {0.95, 0.95, 1e-8};
  }
  Dim refresh_every = 10;
  // A side with more rows or columns than this keeps the identity as its basis. The cost of a step grows with the
  // square of a side; this one keeps the long sides of an MLP out, where the short one already has the benefit.
  Dim max_precond_dim = 512;

  template <class F>
  void each_setting(const F& f) {
    MatrixOptions::each_setting(f);
    f("refresh_every", refresh_every);
    f("max_precond_dim", max_precond_dim);
  }
};

// Of every hidden matrix with a side of at most max_precond_dim, and of every matrix of a batch for itself, with Q_L and Q_R
// the bases:
//   g' = Q_Lᵀ g Q_R,  m', v', d' as Adam's from g',  w <- (1 - lr weight_decay) w - lr Q_L d' Q_Rᵀ
//   L <- beta2 L + (1 - beta2) g gᵀ,  R <- beta2 R + (1 - beta2) gᵀ g
// The first step only collects L and R and takes their eigenvectors as bases, largest eigenvalue first. Every
// refresh_every steps, the matrices taking turns, Q <- the orthonormal columns of L Q, sorted by the estimated
// eigenvalues diag(QᵀLQ), one power iteration; v' is sorted with them, m' is carried over into the new bases.
// State: "exp_avg" (m'), "exp_avg_sq" (v'), "left_average" (L), "left_basis" (Q_L), "right_average", "right_basis".
// The other parameters, matrices with two longer sides among them: AdamW with the same betas and eps (matrix_optimizer.h).
class Soap : public MatrixOptimizer {
 public:
  explicit Soap(const Parameters& parameters, const SoapOptions& options = {});

 private:
  void update_matrix(Slot& slot, const Update& update) override;
  void find_bases(Slot& slot) const;
  void refresh_bases(Slot& slot) const;

  Dim refresh_every_, max_precond_dim_;
};

}  // namespace ashlar::optim
