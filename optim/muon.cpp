#include "optim/muon.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/normalize/normalize.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {

Array newton_schulz(const Array& x, int steps, DType dtype) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const Exec exec = x.exec();
  const Dim batch = x.size(0), rows = x.size(1), columns = x.size(2);
  // A is of the short side: X Xᵀ and then X <- a X + B X, or Xᵀ X and X <- a X + X B, which come to the same.
  const bool tall = rows > columns;
  const Dim side = std::min(rows, columns);
  Array X = Array::empty(x.shape(), dtype, x.device()), next = empty_like(X);
  const Array A = Array::empty({batch, side, side}, dtype, x.device()), B = empty_like(A);
  const Shape flat{batch, rows * columns};
  kernels::normalize_rows(exec, x.reshape(flat).as_contiguous(), {}, 1e-7, X.reshape(flat));
  for (int step = 0; step < steps; ++step) {
    kernels::matmul(exec, tall ? X.transpose(1, 2) : X, tall ? X : X.transpose(1, 2), A, {});
    kernels::matmul(exec, A, A, B, {});
    kernels::linear_combination(exec, A, b, B, c, B);
    kernels::scale(exec, X, a, next);
    kernels::matmul(exec, tall ? X : B, tall ? B : X, next, {.accumulate = true});
    std::swap(X, next);
  }
  return X;
}

namespace {

// Of the update: a map to more features than it reads gets the larger step. Orthogonal matrices have singular values
// of 1 whatever their shape, and their entries shrink with the longer side.
double shape_factor(const Parameter& parameter) {
  const ParamInfo& info = parameter.info;
  const Shape shape = matrix_shape(parameter);
  const Dim out = info.fan_out ? info.fan_out : shape[1], in = info.fan_in ? info.fan_in : shape[2];
  return std::sqrt(std::max(1.0, static_cast<double>(out) / static_cast<double>(in)));
}

std::unique_ptr<Optimizer> make_muon(const Parameters& parameters, const OptimizerOptions& shared,
                                     const Settings& settings) {
  MuonOptions options;
  static_cast<MatrixOptions&>(options) = matrix_options(shared, settings);
  options.momentum = settings.at("momentum");
  options.nesterov = settings.at("nesterov") != 0;
  options.ns_steps = static_cast<int>(count_setting("muon", settings, "ns_steps"));
  options.ns_bf16 = settings.at("ns_bf16") != 0;
  return std::make_unique<Muon>(parameters, options);
}

Settings muon_defaults() {
  const MuonOptions options;
  Settings settings = matrix_settings(options);
  settings["momentum"] = options.momentum;
  settings["nesterov"] = options.nesterov;
  settings["ns_steps"] = options.ns_steps;
  settings["ns_bf16"] = options.ns_bf16;
  return settings;
}

}  // namespace

const OptimizerKind kMuon{"muon", &muon_defaults, &make_muon};

Muon::Muon(const Parameters& parameters, const MuonOptions& options)
    : MatrixOptimizer("muon", parameters, options),
      momentum_(options.momentum),
      nesterov_(options.nesterov),
      ns_steps_(options.ns_steps),
      ns_bf16_(options.ns_bf16) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, "muon: momentum must be in [0, 1), got ", momentum_);
  ASHLAR_CHECK(ns_steps_ >= 1, "muon: ns_steps must be at least 1, got ", ns_steps_);
  for (Slot* slot : matrix_slots()) {
    slot->add_state("momentum_buffer");
    slot->set_lr_scale(1);  // orthogonal steps have the same spectral norm whatever the fan-in
  }
}

void Muon::update_matrix(Slot& slot, const Update& update) {
  const Array& weight = slot.parameter.tensor.value();
  const Array& buffer = slot.state.at("momentum_buffer");
  const Exec exec = weight.exec();
  const double fresh = (1 - momentum_) * update.grad_scale;
  kernels::linear_combination(exec, buffer, momentum_, update.gradient, fresh, buffer);
  Array u = buffer;
  if (nesterov_) {
    u = empty_like(buffer);
    kernels::linear_combination(exec, update.gradient, fresh, buffer, momentum_, u);
  }
  const bool in_bf16 = ns_bf16_ && weight.dtype() == DType::f32 && kernels::multiplies_bf16(weight.device());
  const Array direction =
      newton_schulz(u.reshape(matrix_shape(slot.parameter)), ns_steps_, in_bf16 ? DType::bf16 : weight.dtype());
  // w <- w - lr (shape_factor direction + weight_decay w), with the lr in the device's memory.
  const Array same = direction.to(weight.dtype()).reshape(weight.shape());
  const kernels::SgdTensor move{.weight_decay = slot.weight_decay, .grad_scale = shape_factor(slot.parameter),
                                .numbers = update.numbers.slice(0, 0, 1), .dw = same, .w = weight};
  kernels::sgd_update(exec, {&move, 1});
}

}  // namespace ashlar::optim
