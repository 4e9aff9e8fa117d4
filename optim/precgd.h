// Preconditioned gradient descent on the factors of a weight matrix: ScaledGD (Tong, Ma, Chi 2021), damped like PrecGD
// (Zhang, Fattahi, Zhang 2021), for every structure that tells the Gram matrices of its factors (ParamInfo::gram). The paper's
// damping falls with the error that is left, which training does not know: here it is a fixed share of each Gram matrix.
#pragma once
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

struct PrecGdOptions : MatrixOptions {
  PrecGdOptions() {
    lr = 1e-3;
    weight_decay = 0.05;
    adam = {0.9, 0.999, 1e-8};
  }
  double momentum = 0.9;
  double damping = 0.01;  // relative to the mean eigenvalue of the Gram matrix
  Dim refresh_every = 10;
  // The entries of every step times 1/lr have this root mean square: 0.2 is about AdamW's (Liu et al. 2025, "Muon is
  // Scalable for LLM Training"), so that its learning rates fit. 0: steps of the length that they have.
  double rms = 0.2;

  template <class F>
  void each_setting(const F& f) {
    MatrixOptions::each_setting(f);
    f("momentum", momentum);
    f("damping", damping);
    f("refresh_every", refresh_every);
    f("rms", rms);
  }
};

// ScaledGD: the same without damping, and with steps of the length that they have, so that a learning rate of dense
// gradient descent fits. Its Gram matrices must be positive definite, or zero: a rank above what a factor can have needs
// PrecGD's damping.
struct ScaledGdOptions : PrecGdOptions {
  ScaledGdOptions() {
    lr = 0.1;
    weight_decay = 5e-4;
    damping = rms = 0;
  }
};

// Of every parameter that has a Gram matrix K, (batch, r, r), of the other factors, seen as matrices G with r columns:
//   g' = g (K + delta I)⁻¹,  delta = damping trace(K) / r, or 1 where K is zero,  for each matrix of the batch
//   buf <- mu buf + g',  w <- (1 - lr weight_decay) w - lr (buf, or buf scaled to `rms`)
// To first order the weight matrix moves as if projected gradients of itself were taken, however the product is split
// among its factors: without damping U, V and U A, V A⁻ᵀ train alike. K is found, from the weights before the
// step, in the first step and then every refresh_every steps, the parameters taking turns.
// State: "momentum_buffer", "gram_factor" (Cholesky, (batch, r, r)). The other parameters: AdamW (matrix_optimizer.h).
// step() throws an Error that names the parameter if K + delta I is not positive definite.
class PrecGd : public MatrixOptimizer {
 public:
  // `name` is what errors call it.
  explicit PrecGd(const Parameters& parameters, const PrecGdOptions& options = {}, const char* name = "precgd");

 private:
  void update_all(const std::vector<Update>& updates) override;
  void update_matrix(Slot& slot, const Update& update) override;
  void refresh(Slot& slot) const;

  double momentum_, damping_, rms_;
  Dim refresh_every_;
};

class ScaledGd : public PrecGd {
 public:
  explicit ScaledGd(const Parameters& parameters, const ScaledGdOptions& options = {})
      : PrecGd(parameters, options, "scaled_gd") {}
};

}  // namespace ashlar::optim
