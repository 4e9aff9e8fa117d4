// DCT-AdamW: AdamW in the cosines that the gradient has most of (Modoranu et al. 2025, "SVD-Free Low-Rank Adaptive
// Gradient Optimization for Large Language Models").
#pragma once
#include "optim/projected_adamw.h"

namespace ashlar::optim {

struct DctOptions : ProjectedOptions {
  DctOptions() {
    // A direction that joins starts with empty moments; with 1 - beta1 = sqrt(1 - beta2) its first step is as long as
    // Adam's first.
    adam = {0.9, 0.99, 1e-8};
    refresh_every = 10;
  }
  // What a step leaves out of the gradient is added to the next one. The paper keeps it in eight bits; here it is in the
  // dtype of the parameter, so that the state is then larger than AdamW's.
  bool error_feedback = false;

  template <class F>
  void each_setting(const F& f) {
    ProjectedOptions::each_setting(f);
    f("error_feedback", error_feedback);
  }
};

// As ProjectedAdamW, with Q those `rank` columns of the orthonormal DCT-II basis along the short side that have the
// largest part of the gradient. Directions that stay keep their moments, the others begin with zeros.
// State: "indices" (batch, rank) i64, rising, and "error" with error_feedback.
class DctAdamW : public ProjectedAdamW {
 public:
  explicit DctAdamW(const Parameters& parameters, const DctOptions& options = {});

 private:
  void refresh(Slot& slot, const Array& gradient) override;
  Array directions(const Slot& slot) override;
  const Array& basis(const Array& like, Dim n);

  std::map<std::pair<DType, Dim>, Array> bases_;
};

// The orthonormal DCT-II: row i is sqrt(2/n) cos(i (2j + 1) pi / (2n)) over j, row 0 divided by sqrt 2. (n, n) f64.
Array dct_basis(Dim n);

}  // namespace ashlar::optim
