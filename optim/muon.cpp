#include "optim/muon.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/normalize/normalize.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {

Array newton_schulz(const Array& x, Dim steps, DType dtype) {
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
  for (Dim step = 0; step < steps; ++step) {
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

}  // namespace

const OptimizerKind kMuon = kind_of<Muon, MuonOptions>("muon");

Muon::Muon(const Parameters& parameters, const MuonOptions& options)
    : MatrixOptimizer("muon", parameters, options),
      momentum_(options.momentum),
      nesterov_(options.nesterov),
      ns_steps_(options.ns_steps),
      ns_bf16_(options.ns_bf16) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, "muon: momentum must be in [0, 1), got ", momentum_);
  check_count("muon", "ns_steps", ns_steps_);
  for (Slot* slot : matrix_slots()) {
    slot->add_state("momentum_buffer");
    slot->set_lr_scale(1);  // orthogonal steps have the same spectral norm whatever the fan-in
  }
}

void Muon::update_matrices(const std::vector<MatrixUpdate>& matrices) {
  if (matrices.empty() || matrices.front().slot.parameter.tensor.device().type == DeviceType::cpu) {
    return MatrixOptimizer::update_matrices(matrices);  // one by one they stay in the cache
  }
  // A GPU is not filled by the products of one matrix.
  std::map<std::pair<Dim, Dim>, std::vector<MatrixUpdate>> batches;
  for (const MatrixUpdate& matrix : matrices) {
    const Shape shape = matrix_shape(matrix.slot.parameter);
    batches[{shape[1], shape[2]}].push_back(matrix);
  }
  for (const auto& [shape, batch] : batches) update_batch(batch);
}

void Muon::update_batch(const std::vector<MatrixUpdate>& matrices) {
  const Array& first = matrices.front().slot.parameter.tensor.value();
  const Exec exec = first.exec();
  Dim count = 0;
  for (const MatrixUpdate& matrix : matrices) count += matrix_shape(matrix.slot.parameter)[0];
  const Shape shape = matrix_shape(matrices.front().slot.parameter).with(0, count);
  // The updates of one parameter after the other, (count, rows, columns).
  const Array u = Array::empty(shape, first.dtype(), first.device());
  Dim begin = 0;
  for (const auto& [slot, update] : matrices) {
    const Array &buffer = slot.state.at("momentum_buffer"), &gradient = update.gradient;
    const double fresh = (1 - momentum_) * update.grad_scale;
    kernels::linear_combination(exec, buffer, momentum_, gradient, fresh, buffer);
    const Dim end = begin + matrix_shape(slot.parameter)[0];
    const Array own = u.slice(0, begin, end).reshape(buffer.shape());
    if (nesterov_) kernels::linear_combination(exec, gradient, fresh, buffer, momentum_, own);
    else copy(buffer, own);
    begin = end;
  }
  const bool in_bf16 = ns_bf16_ && first.dtype() == DType::f32 && kernels::multiplies_bf16(first.device());
  const Array directions = newton_schulz(u, ns_steps_, in_bf16 ? DType::bf16 : first.dtype()).to(first.dtype());

  // w <- w - lr (shape_factor direction + weight_decay w), with the lr in the device's memory.
  std::vector<kernels::SgdTensor> moves;
  begin = 0;
  for (const auto& [slot, update] : matrices) {
    const Array& weight = slot.parameter.tensor.value();
    const Dim end = begin + matrix_shape(slot.parameter)[0];
    moves.push_back({.weight_decay = slot.weight_decay, .grad_scale = shape_factor(slot.parameter),
                     .numbers = update.numbers.slice(0, 0, 1), .dw = directions.slice(0, begin, end).reshape(weight.shape()),
                     .w = weight});
    begin = end;
  }
  kernels::sgd_update(exec, moves);
}

}  // namespace ashlar::optim
