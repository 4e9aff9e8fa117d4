// LinearMap: the contract of every weight matrix, dense or structured.
#pragma once
#include <map>

#include "autograd/ops.h"
#include "layers/module.h"
#include "layers/projection.h"

namespace ashlar {

// Arithmetic and memory of `rows` rows through a linear map, without the bias. 1 MAC = 2 FLOPs.
struct LinearCost {
  Dim params = 0;
  Dim macs_forward = 0;
  Dim macs_grad_input = 0;
  Dim macs_grad_weight = 0;
  Dim saved_elements = 0;  // kept for backward beyond the input x
};

struct LinearOptions {
  bool bias = true;
  // Standard deviation of the entries of the matrix at initialisation, for structured maps that of the matrix they
  // represent: a structured layer passes on the variance of the dense one it replaces. 0: 1/sqrt(3 in), as PyTorch.
  double std = 0;
  bool hidden = true;  // ParamInfo::hidden of the factors
  // Instead of `std`: every factor uniform in ±1/sqrt(its inputs), PyTorch's and that of the authors' code for low rank,
  // Monarch, block-diagonal and SS1 ("init=authors" in a spec). The matrix of a product of two factors then has a third
  // of the variance of PyTorch's dense one, that of SS1 `reduction` times it. For BLAST none was published.
  bool authors_init = false;
  std::string_view written = {};  // the spec as the user wrote it, for errors; empty: spec()
};

// The couplings of BLAST would get in / (3 in_blocks): more than a rate tuned for a dense matrix bears.
constexpr double kMostLrScale = 8;

// y = x Wᵀ + bias, where W (out, in) is given by the factors of the structure.
class LinearMap : public Module {
 public:
  LinearMap(const Scope& scope, Dim in, Dim out, const LinearOptions& options);

  // x (…, in) -> (…, out). InputError naming the module's path if the last dimension is not `in`.
  Tensor operator()(const Tensor& x) const;
  // The same and gelu of it, and the map of such a gelu: an MLP is fc2(fc1.then_gelu(x)).
  F::Activation then_gelu(const Tensor& x, kernels::Gelu kind) const;
  Tensor operator()(const F::Activation& x) const;

  // W (out, in), exactly the matrix that forward applies; master dtype, on the host.
  virtual Array to_dense() const = 0;
  // Sets the factors to approximate `dense` (out, in); returns the relative Frobenius error, also where the options ask
  // for a weighted one to be small. InputError naming the module's path for another shape, values that are not finite,
  // weights that make no sense; Error naming it if no factors can be found.
  double project(const Array& dense, const ProjectionOptions& options = {});
  virtual LinearCost cost(Dim rows) const = 0;
  // The spec that makes this map, e.g. "blast:blocks=6,rank=192".
  virtual std::string spec() const = 0;

  // Called with the inputs (rows, in) of every call from now on, to learn their statistics; an empty function ends it.
  void observe(std::function<void(const Array& x)> observer) { observer_ = std::move(observer); }

  Dim in_features() const { return in_; }
  Dim out_features() const { return out_; }

 protected:
  // x (R, in) -> (R, out) of its dtype; `bias` (out) or undefined.
  virtual Tensor forward(const Tensor& x, const Tensor& bias) const = 0;
  // For maps that compute GELU together with what is before or behind it.
  virtual F::Activation forward_gelu(const Tensor& x, const Tensor& bias, kernels::Gelu kind) const {
    return F::activate(forward(x, bias), kind);
  }
  virtual Tensor forward_of_gelu(const F::Activation& x, const Tensor& bias) const { return forward(F::gelu(x), bias); }
  // What project() does after its checks: the factors for `dense` (out, in), f64 and contiguous.
  virtual void fit(const Array& dense, const ProjectionOptions& options) = 0;
  // For errors of constructors: "layer 'blast:blocks=6,ratio=0.5' for blocks.0.attn.qkv (64 -> 192)".
  std::string named() const;
  // For constructors: InputError naming the layer unless 1 <= value <= most.
  void check_size(std::string_view what, Dim value, Dim most) const;
  // A factor as to_dense() computes with it.
  static Array on_host(const Tensor& factor) { return factor.value().to(Device{}).to(DType::f64); }
  // A matrix in one (rows, columns) of whole blocks, f64, with zeros beyond it; and the view of (out, in) in such a one.
  static Array pad(const Array& matrix, Dim rows, Dim columns);
  Array crop(const Array& padded) const;
  double std() const { return std_; }
  // The initial values of a factor with `inputs`: normal with this deviation, or as LinearOptions::authors_init says.
  Init factor_init(double std, Dim inputs) const;
  // ParamInfo::lr_scale of a factor with `fan_in` inputs, one of `factors`: (in / fan_in) / factors, at most
  // kMostLrScale. Adam moves every weight by about the learning rate, and a product with d inputs by up to d times
  // that: a factor with fewer inputs than W takes a larger rate, and the factors share the change of W. Rule of muP
  // for structured matrices (Qiu et al. 2024, "Compute Better Spent"); for BLAST and block-diagonal it is derived, for
  // SS1, whose weights each stand in `reduction` places of a row of W, it is that of dense.
  double lr_scale(Dim fan_in, int factors) const;

 private:
  void check_input(const Array& x) const;  // (…, in); shows it to the observer
  void check_output(const Array& x, const Array& y) const;  // what forward() made of it
  void check_projection(const Array& dense, const ProjectionOptions& options) const;

  Dim in_, out_;
  double std_;
  bool authors_init_;
  std::string written_;
  Tensor bias_;
  std::function<void(const Array& x)> observer_;
};

// All linear maps of a model, by their paths.
std::map<std::string, LinearMap*> linear_maps(Module& model);
std::map<std::string, const LinearMap*> linear_maps(const Module& model);

// Sum of the costs of all linear maps below `model` for one row each, and what they would be if all were dense.
struct ModelCost {
  Dim parameters = 0;         // of everything
  Dim linear_parameters = 0;  // of the linear maps, without biases
  Dim dense_linear_parameters = 0;
  Dim macs_per_row = 0;  // of the linear maps
  Dim dense_macs_per_row = 0;
};
ModelCost cost_of(const Module& model);

// The value handle that models hold: any LinearMap, made from a spec (design: "Spec of a linear map") or given.
class Linear {
 public:
  Linear(const Scope& scope, Dim in, Dim out, std::string_view spec = "dense", const LinearOptions& options = {});
  // A map of a kind that no spec names: Linear(std::make_unique<MyMap>(sub("fc1"), in, out, …)).
  explicit Linear(std::unique_ptr<LinearMap> map) : map_(std::move(map)) {
    if (!map_) throw Error("Linear: there is no map in the pointer; give std::make_unique of one");
  }
  Tensor operator()(const Tensor& x) const { return (*map_)(x); }
  Tensor operator()(const F::Activation& x) const { return (*map_)(x); }
  F::Activation then_gelu(const Tensor& x, kernels::Gelu kind) const { return map_->then_gelu(x, kind); }
  LinearMap& map() { return *map_; }
  const LinearMap& map() const { return *map_; }

 private:
  std::unique_ptr<LinearMap> map_;
};

}  // namespace ashlar
