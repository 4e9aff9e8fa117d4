// Shampoo with averages that forget (Gupta, Koren, Singer 2018; grafting after Anil et al. 2020, "Scalable Second Order
// Optimization for Deep Learning").
#pragma once
#include "optim/kronecker.h"
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

struct ShampooOptions : MatrixOptions {
  ShampooOptions() {
    lr = 1e-3;
    weight_decay = 0.05;
    adam = {0.9, 0.99, 1e-8};
  }
  Dim refresh_every = 20;
  Dim max_precond_dim = 512;  // a side with more rows or columns than this is not preconditioned
  double damping = 1e-6;      // added to the eigenvalues of L and R, relative to the largest
  bool graft = true;          // take the length of each step from Adam

  template <class F>
  void each_setting(const F& f) {
    MatrixOptions::each_setting(f);
    f("refresh_every", refresh_every);
    f("max_precond_dim", max_precond_dim);
    f("damping", damping);
    f("graft", graft);
  }
};

// Of every hidden matrix with a side of at most max_precond_dim, and of every matrix of a batch for itself:
//   L <- beta2 L + (1 - beta2) g gᵀ,  R <- beta2 R + (1 - beta2) gᵀ g,  m <- beta1 m + (1 - beta1) g
//   d = L'^(-1/4) m' R'^(-1/4)   or, with one side preconditioned, that side's -1/2;  ' corrects for the start at zero
//   w <- (1 - lr weight_decay) w - lr d,   or d of the length of Adam's direction, where grafted
// The roots are found in the first step and then every refresh_every steps, the matrices taking turns.
// State: "exp_avg" (m), "exp_avg_sq" (Adam's v, where grafted), "left_average" (L), "left_root", "right_average",
// "right_root". The other parameters, matrices with two longer sides among them: AdamW with the same betas and eps
// (matrix_optimizer.h).
class Shampoo : public MatrixOptimizer {
 public:
  explicit Shampoo(const Parameters& parameters, const ShampooOptions& options = {});

 private:
  void update_matrix(Slot& slot, const Update& update) override;
  // Updates the moments; Adam's direction, downwards, or m' where not grafted.
  Array plain_direction(Slot& slot, const Array& gradient) const;

  Dim refresh_every_, max_precond_dim_;
  double damping_;
  bool graft_;
};

// ((a + damping λ) / correction)^(-1/order) of symmetric positive semidefinite matrices a (batch, n, n), with λ the
// largest eigenvalue of each; zero where a is zero.
Array inverse_root(const Array& a, double order, double damping, double correction = 1);

}  // namespace ashlar::optim
