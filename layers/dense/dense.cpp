#include "layers/dense/dense.h"

namespace ashlar {

DenseLinear::DenseLinear(const Scope& scope, Dim in, Dim out, const LinearOptions& options)
    : LinearMap(scope, in, out, options),
      weight_(param("weight", {out, in}, factor_init(std(), in),
                    {.role = Role::matrix, .fan_in = in, .fan_out = out, .hidden = options.hidden})) {}

Tensor DenseLinear::forward(const Tensor& x, const Tensor& bias) const { return F::linear(x, weight_, bias); }

F::Activation DenseLinear::forward_gelu(const Tensor& x, const Tensor& bias, kernels::Gelu kind) const {
  return F::linear_gelu(x, weight_, bias, kind);
}

Tensor DenseLinear::forward_of_gelu(const F::Activation& x, const Tensor& bias) const { return F::linear(x, weight_, bias); }

Array DenseLinear::to_dense() const { return weight_.value().to(Device{}).to(scope().master()).clone(); }

void DenseLinear::fit(const Array& dense, const ProjectionOptions&) {
  copy(dense, weight_.value());
}

LinearCost DenseLinear::cost(Dim rows) const {
  const Dim params = in_features() * out_features();
  return {params, rows * params, rows * params, rows * params, 0};
}

std::unique_ptr<LinearMap> make_dense(const Scope& scope, Dim in, Dim out, const LinearSpec&,
                                      const LinearOptions& options) {
  return std::make_unique<DenseLinear>(scope, in, out, options);
}

}  // namespace ashlar
