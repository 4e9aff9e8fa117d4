// Low rank: W = U Vᵀ.
//   z = x V          y = z Uᵀ + b
//   dU = dyᵀ z       dz = dy U      dV = xᵀ dz      dx = dz Vᵀ
// Computed as BLAST with one block and no coupling (kernels/blast). Saved for backward: x (shared with its producer) and z,
// which is narrow.
#pragma once
#include "layers/linear_spec.h"

namespace ashlar {

class LowRankLinear final : public LinearMap {
 public:
  LowRankLinear(const Scope& scope, Dim in, Dim out, Dim rank, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override { return concat("low_rank:rank=", rank_); }

 protected:
  // Truncated SVD: the best approximation of the rank (Eckart and Young), factors of equal size on both sides.
  // With row weights d² (Hsu et al. 2022, "Language model compression with weighted low-rank factorization"), that of
  // diag(d) W; with input moments C Cᵀ, that of W C, which minimises the error of the outputs. Each is the optimum of
  // its norm.
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim rank_;
  Tensor u_;  // (out, rank)
  Tensor v_;  // (in, rank)
};

std::unique_ptr<LinearMap> make_low_rank(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                         const LinearOptions& options);

}  // namespace ashlar
