#include "layers/linear_map.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ashlar {

LinearMap::LinearMap(const Scope& scope, Dim in, Dim out, const LinearOptions& options)
    : Module(scope),
      in_(in),
      out_(out),
      std_(options.std > 0 ? options.std : 1.0 / std::sqrt(3.0 * static_cast<double>(in))),
      authors_init_(options.authors_init),
      written_(options.written) {
  ASHLAR_CHECK(in >= 1 && out >= 1, scope.path(), ": a linear map needs at least one input and one output, got ", in,
               " -> ", out);
  if (options.bias) bias_ = param("bias", {out}, init::zeros(), {.role = Role::bias, .fan_in = in, .fan_out = out});
}

void LinearMap::check_input(const Array& x) const {
  ASHLAR_CHECK(x.ndim() >= 1 && x.size(-1) == in_, "linear map ", scope().path(), " (", spec(), "): last dimension of x ",
               x.shape(), " must equal in_features ", in_);
  if (observer_) observer_(x.as_rows());
}

void LinearMap::check_output(const Array& x, const Array& y) const {
  ASHLAR_CHECK(y.shape() == x.shape().as_rows().with(-1, out_) && y.dtype() == x.dtype(), "linear map ", scope().path(), " (",
               spec(), "): forward of x ", x.shape().as_rows(), " ", x.dtype(), " must be (rows, out) = ",
               x.shape().as_rows().with(-1, out_), " of the same dtype, and is ", y.shape(), " ", y.dtype(),
               "; factors are kept in f32: F::cast(factor, x.dtype()) before operations that take the dtype of the first operand");
}

Tensor LinearMap::operator()(const Tensor& x) const {
  check_input(x.value());
  const Tensor y = forward(F::reshape(x, x.shape().as_rows()), bias_);
  check_output(x.value(), y.value());
  return F::reshape(y, x.shape().with(-1, out_));
}

Tensor LinearMap::operator()(const F::Activation& x) const {
  check_input(x.y);
  const Tensor y = forward_of_gelu(F::reshape(x, x.y.shape().as_rows()), bias_);
  check_output(x.y, y.value());
  return F::reshape(y, x.y.shape().with(-1, out_));
}

F::Activation LinearMap::then_gelu(const Tensor& x, kernels::Gelu kind) const {
  check_input(x.value());
  const F::Activation y = forward_gelu(F::reshape(x, x.shape().as_rows()), bias_, kind);
  check_output(x.value(), y.y);
  return F::reshape(y, x.shape().with(-1, out_));
}

void LinearMap::check_projection(const Array& dense, const ProjectionOptions& options) const {
  const auto finite = [this](const char* what, const Array& values, double least) {
    for (const double value : values.to_vector<double>()) {
      ASHLAR_CHECK(std::isfinite(value) && value >= least, "project ", scope().path(), ": ", what, " a value that is ",
                   std::isfinite(value) ? "negative" : "not finite");
    }
  };
  constexpr double kAny = -std::numeric_limits<double>::infinity();
  ASHLAR_CHECK(dense.shape() == Shape({out_, in_}), "project ", scope().path(), ": the dense matrix ", dense.shape(),
               " must be (out, in) = (", out_, ", ", in_, ")");
  finite("the dense matrix has", dense, kAny);
  if (!options.weighted()) return;
  const Array &moments = options.input_moments, &weights = options.row_weights;
  ASHLAR_CHECK(!moments.defined() || !weights.defined(), "project ", scope().path(),
               ": input_moments and row_weights exclude each other");
  if (moments.defined()) {
    ASHLAR_CHECK(moments.shape() == Shape({in_, in_}), "project ", scope().path(), ": input_moments ", moments.shape(),
                 " must be (in, in) = (", in_, ", ", in_, ")");
    finite("input_moments have", moments, kAny);
  } else {
    ASHLAR_CHECK(weights.shape() == Shape({out_}), "project ", scope().path(), ": row_weights ", weights.shape(),
                 " must be (out) = (", out_, ")");
    finite("row_weights have", weights, 0);
  }
}

double LinearMap::project(const Array& dense, const ProjectionOptions& options) {
  check_projection(dense, options);
  const auto with_path = [&](const Error& error) {
    return concat("project ", scope().path(), " onto ", spec(), ": ", error.what());
  };
  try {
    fit(dense.to(Device{}).to(DType::f64).as_contiguous(), options);
  } catch (const InputError& error) {
    throw InputError(with_path(error));
  } catch (const Error& error) {
    throw Error(with_path(error));
  }
  return projection_error(to_dense(), dense);
}

std::string LinearMap::named() const {
  const std::string place = scope().path().empty() ? "" : " for " + scope().path();
  return concat("layer '", written_.empty() ? spec() : written_, "'", place, " (", in_, " -> ", out_, ")");
}

void LinearMap::check_size(std::string_view what, Dim value, Dim most) const {
  ASHLAR_CHECK(value >= 1 && value <= most, named(), ": ", what, " must be from 1 to ", most);
}

Init LinearMap::factor_init(double std, Dim inputs) const {
  return authors_init_ ? init::uniform(1.0 / std::sqrt(static_cast<double>(inputs))) : init::normal(std);
}

Array LinearMap::pad(const Array& matrix, Dim rows, Dim columns) {
  const Array padded = Array::zeros({rows, columns}, DType::f64);
  copy(matrix.to(DType::f64), padded.slice(0, 0, matrix.size(0)).slice(1, 0, matrix.size(1)));
  return padded;
}

Array LinearMap::crop(const Array& padded) const { return padded.slice(0, 0, out_).slice(1, 0, in_); }

double LinearMap::lr_scale(Dim fan_in, int factors) const {
  return std::min(kMostLrScale, static_cast<double>(in_) / static_cast<double>(fan_in) / factors);
}

namespace {

template <class Map, class Model>
std::map<std::string, Map*> maps_of(Model& model) {
  std::map<std::string, Map*> maps;
  model.visit([&](Model& module) {
    if (auto* map = dynamic_cast<Map*>(&module)) maps.emplace(map->scope().path(), map);
  });
  return maps;
}

}  // namespace

std::map<std::string, LinearMap*> linear_maps(Module& model) { return maps_of<LinearMap>(model); }
std::map<std::string, const LinearMap*> linear_maps(const Module& model) { return maps_of<const LinearMap>(model); }

ModelCost cost_of(const Module& model) {
  ModelCost total;
  for (const Parameter& parameter : model.parameters()) total.parameters += parameter.tensor.value().numel();
  for (const auto& [path, map] : linear_maps(model)) {
    const LinearCost cost = map->cost(1);
    const Dim dense = map->in_features() * map->out_features();
    total.linear_parameters += cost.params;
    total.macs_per_row += cost.macs_forward;
    total.dense_linear_parameters += dense;
    total.dense_macs_per_row += dense;
  }
  return total;
}

}  // namespace ashlar
