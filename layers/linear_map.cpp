#include "layers/linear_map.h"

#include <algorithm>
#include <cmath>

namespace ashlar {

LinearMap::LinearMap(const Scope& scope, Dim in, Dim out, const LinearOptions& options)
    : Module(scope),
      in_(in),
      out_(out),
      std_(options.std > 0 ? options.std : 1.0 / std::sqrt(3.0 * static_cast<double>(in))) {
  ASHLAR_CHECK(in >= 1 && out >= 1, scope.path(), ": a linear map needs at least one input and one output, got ", in,
               " -> ", out);
  if (options.bias) bias_ = param("bias", {out}, init::zeros(), {.role = Role::bias, .fan_in = in, .fan_out = out});
}

Tensor LinearMap::operator()(const Tensor& x) const {
  ASHLAR_CHECK(x.value().ndim() >= 1 && x.size(-1) == in_, "linear map ", scope().path(), " (", spec(),
               "): last dimension of x ", x.shape(), " must equal in_features ", in_);
  const Tensor y = forward(F::reshape(x, x.shape().flattened_to(1)), bias_);
  return F::reshape(y, x.shape().with(-1, out_));
}

void LinearMap::check_dense(const Array& dense) const {
  ASHLAR_CHECK(dense.shape() == Shape({out_, in_}), "project ", scope().path(), ": the dense matrix ", dense.shape(),
               " must be (out, in) = (", out_, ", ", in_, ")");
  for (const double value : dense.to_vector<double>()) {
    ASHLAR_CHECK(std::isfinite(value), "project ", scope().path(), ": the dense matrix has a value that is not finite");
  }
}

void LinearMap::check_size(std::string_view what, Dim value, Dim most) const {
  ASHLAR_CHECK(value >= 1 && value <= most, "layer '", spec(), "' for ", scope().path(), " (", in_, " -> ", out_, "): ",
               what, " must be from 1 to ", most);
}

double LinearMap::lr_scale(Dim fan_in, int factors) const {
  return std::min(kMostLrScale, static_cast<double>(in_) / static_cast<double>(fan_in) / factors);
}

double relative_frobenius_error(const Array& a, const Array& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  ASHLAR_CHECK(a.shape() == b.shape(), "relative_frobenius_error: shapes ", a.shape(), " and ", b.shape(), " differ");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace ashlar
