// Muon: momentum, orthogonalised (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks").
#pragma once
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

struct MuonOptions : MatrixOptions {
  // Measured on small models (README.md); the published lr, 0.02, is too large for structured factors.
  MuonOptions() {
    lr = 0.005;
    adamw_lr = 2e-3;
  }
  double momentum = 0.95;
  bool nesterov = true;
  Dim ns_steps = 5;
  // Newton-Schulz with products of bf16, as its authors have it, where the processor multiplies bf16: half the time.
  // The rounding moves single singular values of the step by about 0.01, its entries by 2 %, and leaves the band where it
  // was; momentum and weights stay in their dtype.
  bool ns_bf16 = true;

  template <class F>
  void each_setting(const F& f) {
    MatrixOptions::each_setting(f);
    f("momentum", momentum);
    f("nesterov", nesterov);
    f("ns_steps", ns_steps);
    f("ns_bf16", ns_bf16);
  }
};

// Of every hidden matrix, and of every matrix of a batch for itself:
//   buf <- mu buf + (1 - mu) g,  u = (1 - mu) g + mu buf   (or u = buf without Nesterov)
//   w <- (1 - lr weight_decay) w - lr sqrt(max(1, fan_out / fan_in)) newton_schulz(u)
// whatever ParamInfo::lr_scale. State: "momentum_buffer". The other parameters: AdamW (matrix_optimizer.h).
class Muon : public MatrixOptimizer {
 public:
  explicit Muon(const Parameters& parameters, const MuonOptions& options = {});
  bool can_record() const override { return true; }

 private:
  void update_matrix(Slot& slot, const Update& update) override { update_batch({{slot, update}}); }
  void update_matrices(const std::vector<MatrixUpdate>& matrices) override;
  // Of parameters whose matrices have the same rows and columns.
  void update_batch(const std::vector<MatrixUpdate>& matrices);
  double momentum_;
  bool nesterov_;
  Dim ns_steps_;
  bool ns_bf16_;
};

// An approximation of U Vᵀ, where x = U S Vᵀ: x / ‖x‖ after `steps` rounds of X <- a X + (b A + c A²) X, A = X Xᵀ, with
// the (a, b, c) of the paper. They lift small singular values fast and leave all of them in about [0.68, 1.13] rather
// than at 1. x (batch, rows, columns), f32 or f64; a matrix of zeros stays so. The products and the result are in
// `dtype`: that of x, or bf16.
Array newton_schulz(const Array& x, Dim steps, DType dtype);
inline Array newton_schulz(const Array& x, Dim steps) { return newton_schulz(x, steps, x.dtype()); }

}  // namespace ashlar::optim
