// ProjectedAdamW: AdamW that keeps its moments in a few directions of a matrix. What GaLore and DCT-AdamW share; they
// differ in how they choose the directions.
#pragma once
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

struct ProjectedOptions : MatrixOptions {
  ProjectedOptions() {
    lr = 0.01;
    adam = {0.9, 0.999, 1e-6};
  }
  Dim rank = 128;  // directions; a matrix whose short side is not longer than this gets AdamW
  Dim refresh_every = 200;
  double scale = 0.25;  // of the steps, beside lr: only a part of the gradient is followed

  template <class F>
  void each_setting(const F& f) {
    MatrixOptions::each_setting(f);
    f("rank", rank);
    f("refresh_every", refresh_every);
    f("scale", scale);
  }
};

// Of every hidden matrix and every matrix of a batch for itself, turned so that its short side n is last, with Q (n,
// rank) orthonormal columns, found in the first step and then every refresh_every steps, the matrices taking turns:
//   r = g Q,  m and v as Adam's from r,  w <- (1 - lr weight_decay) w - lr scale (m' / (sqrt v' + eps)) Qᵀ
// With error feedback g is the gradient plus what the steps before have left out of theirs: e <- g - r Qᵀ.
// State: "exp_avg", "exp_avg_sq" (batch, long side, rank), what the directions are, and with error feedback "error" (e,
// batch, long side, short side).
class ProjectedAdamW : public MatrixOptimizer {
 protected:
  ProjectedAdamW(std::string_view name, const Parameters& parameters, const ProjectedOptions& options);

  // The (batch, long side, short side) of a parameter.
  static Shape tall_shape(const Parameter& parameter);
  // Chooses the directions for a gradient of that shape and brings the moments into them.
  virtual void refresh(Slot& slot, const Array& gradient) = 0;
  virtual Array directions(const Slot& slot) = 0;  // Q (batch, short side, rank)
  Dim rank() const { return rank_; }
  // Keeps an error for every matrix.
  void feed_errors_back();

 private:
  void update_matrix(Slot& slot, const Update& update) final;

  Dim rank_, refresh_every_;
  double scale_;
};

}  // namespace ashlar::optim
