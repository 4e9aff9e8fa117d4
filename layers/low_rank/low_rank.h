// Low rank: W = U Vᵀ.
//   z = x V          y = z Uᵀ + b
//   dU = dyᵀ z       dz = dy U      dV = xᵀ dz      dx = dz Vᵀ
// Saved for backward: x (shared with its producer) and z, which is narrow.
#pragma once
#include "layers/linear_spec.h"

namespace ashlar {

class LowRankLinear final : public LinearMap {
 public:
  LowRankLinear(const Scope& scope, Dim in, Dim out, Dim rank, const LinearOptions& options);
  Array to_dense() const override;
  // Truncated SVD: the best approximation of the rank (Eckart and Young), sqrt of the singular values on both sides.
  double project(const Array& dense) override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override { return concat("low_rank:rank=", rank_); }
  Dim rank() const { return rank_; }

 protected:
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim rank_;
  Tensor u_;  // (out, rank)
  Tensor v_;  // (in, rank)
};

std::unique_ptr<LinearMap> make_low_rank(const Scope& scope, Dim in, Dim out, LinearSpec& spec,
                                         const LinearOptions& options);

}  // namespace ashlar
