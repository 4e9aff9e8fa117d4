#include "optim/clip.h"

#include <cmath>

#include "kernels/reduce/reduce.h"

namespace ashlar::optim {
namespace {

double sum_of_squares(const Tensor& tensor) {
  const Array gradient = tensor.grad().as_contiguous();
  Array sum = Array::zeros({1}, DType::f64, gradient.device());
  kernels::sum_of_squares(gradient.exec(), gradient, sum);
  return sum.item();
}

}  // namespace

Clip clip_grad_norm(const Parameters& parameters, double max_norm, int accumulated) {
  ASHLAR_CHECK(max_norm >= 0, "clip_grad_norm: max_norm must not be negative, got ", max_norm);
  ASHLAR_CHECK(accumulated >= 1, "clip_grad_norm: needs at least one accumulated batch, got ", accumulated);
  double sum = 0;
  for (const Parameter& parameter : parameters) {
    if (parameter.tensor.grad().defined()) sum += sum_of_squares(parameter.tensor);
  }
  // 1e-6 as in PyTorch, so that clipped runs can be compared.
  constexpr double kEps = 1e-6;
  Clip clip{std::sqrt(sum) / accumulated, 1.0 / accumulated};
  if (max_norm > 0) clip.scale *= std::min(1.0, max_norm / (clip.norm + kEps));
  return clip;
}

LargestGradient largest_gradient(const Parameters& parameters) {
  LargestGradient largest;
  for (const Parameter& parameter : parameters) {
    if (!parameter.tensor.grad().defined()) continue;
    const double norm = std::sqrt(sum_of_squares(parameter.tensor));
    if (!std::isfinite(norm)) return {parameter.name, norm};
    if (largest.name.empty() || norm > largest.norm) largest = {parameter.name, norm};
  }
  return largest;
}

}  // namespace ashlar::optim
