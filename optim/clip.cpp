#include "optim/clip.h"

#include <cmath>

#include "kernels/reduce/reduce.h"

namespace ashlar::optim {
namespace {

// Of the gradient of each parameter; 0 where there is none. A GPU is waited for once.
std::vector<double> squared_norms(const Parameters& parameters) {
  std::vector<Array> gradients;  // contiguous
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Array& gradient = parameters[i].tensor.grad();
    if (!gradient.defined()) continue;
    gradients.push_back(gradient.as_contiguous());
    owners.push_back(i);
  }
  std::vector<double> norms(parameters.size());
  if (gradients.empty()) return norms;
  const std::vector<ConstView> views(gradients.begin(), gradients.end());
  const Array sums = Array::empty({static_cast<Dim>(views.size())}, DType::f64, gradients.front().device());
  kernels::sums_of_squares(sums.exec(), views, sums);
  const auto values = sums.to_vector<double>();
  for (std::size_t i = 0; i < owners.size(); ++i) norms[owners[i]] = values[i];
  return norms;
}

}  // namespace

Clip clip_grad_norm(const Parameters& parameters, double max_norm, int accumulated) {
  ASHLAR_CHECK(max_norm >= 0, "clip_grad_norm: max_norm must not be negative, got ", max_norm);
  ASHLAR_CHECK(accumulated >= 1, "clip_grad_norm: needs at least one accumulated batch, got ", accumulated);
  double sum = 0;
  for (const double norm : squared_norms(parameters)) sum += norm;
  // 1e-6 as in PyTorch, so that clipped runs can be compared.
  constexpr double kEps = 1e-6;
  Clip clip{std::sqrt(sum) / accumulated, 1.0 / accumulated};
  if (max_norm > 0) clip.scale *= std::min(1.0, max_norm / (clip.norm + kEps));
  return clip;
}

LargestGradient largest_gradient(const Parameters& parameters) {
  LargestGradient largest;
  const std::vector<double> norms = squared_norms(parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    if (!parameter.tensor.grad().defined()) continue;
    const double norm = std::sqrt(norms[i]);
    if (!std::isfinite(norm)) return {parameter.name, norm};
    if (largest.name.empty() || norm > largest.norm) largest = {parameter.name, norm};
  }
  return largest;
}

}  // namespace ashlar::optim
