// The dense matrix: y = x Wᵀ + b.
//   dx = dy W      dW = dyᵀ x      db = column sums of dy
// Saved for backward: x (shared with its producer) and W.
#pragma once
#include "layers/linear_spec.h"

namespace ashlar {

class DenseLinear final : public LinearMap {
 public:
  DenseLinear(const Scope& scope, Dim in, Dim out, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override { return "dense"; }

 protected:
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;
  F::Activation forward_gelu(const Tensor& x, const Tensor& bias, kernels::Gelu kind) const override;
  Tensor forward_of_gelu(const F::Activation& x, const Tensor& bias) const override;

 private:
  Tensor weight_;  // (out, in)
};

std::unique_ptr<LinearMap> make_dense(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                      const LinearOptions& options);

}  // namespace ashlar
