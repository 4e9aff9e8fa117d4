#include "optim/clip.h"

#include <cmath>
#include <numeric>

#include "kernels/clip/clip.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::optim {

double Clip::norm() const {
  const std::vector<double> squares = fetched_.values();
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0)) / accumulated_;
}

LargestGradient Clip::largest() const {
  LargestGradient largest;
  const std::vector<double> squares = fetched_.values();
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const double norm = std::sqrt(squares[i]) / accumulated_;
    if (!std::isfinite(norm)) return {names_[i], norm};
    if (largest.name.empty() || norm > largest.norm) largest = {names_[i], norm};
  }
  return largest;
}

Clip clip_grad_norm(const Parameters& parameters, double max_norm, int accumulated) {
  Clip clip = clip_grad_norm_on_device(parameters, max_norm, accumulated);
  clip.fetch();
  return clip;
}

Clip clip_grad_norm_on_device(const Parameters& parameters, double max_norm, int accumulated) {
  ASHLAR_CHECK(max_norm >= 0, "clip_grad_norm: max_norm must not be negative, got ", max_norm);
  ASHLAR_CHECK(accumulated >= 1, "clip_grad_norm: needs at least one accumulated batch, got ", accumulated);
  const kernels::ClipRule rule{max_norm, static_cast<double>(accumulated)};
  Clip clip;
  clip.accumulated_ = accumulated;
  std::vector<Array> gradients;  // contiguous
  for (const Parameter& parameter : parameters) {
    const Array& gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    gradients.push_back(gradient.as_contiguous());
    clip.names_.push_back(parameter.name);
  }
  const Exec exec = gradients.empty() ? Exec{} : gradients.front().exec();
  clip.squares_ = Array::empty({static_cast<Dim>(gradients.size())}, DType::f64, exec.device);
  kernels::sums_of_squares(exec, std::vector<ConstView>(gradients.begin(), gradients.end()), clip.squares_);
  if (exec.device.type == DeviceType::cpu) {
    clip.fetch();
    clip.scale = rule.factor(clip.norm());
    return clip;
  }
  kernels::clip_gradients(exec, std::vector<View>(gradients.begin(), gradients.end()), clip.squares_, rule);
  // A gradient that was not contiguous was scaled in its copy.
  std::size_t next = 0;
  for (const Parameter& parameter : parameters) {
    if (parameter.tensor.grad().defined()) parameter.tensor.set_grad(gradients[next++]);
  }
  return clip;
}

}  // namespace ashlar::optim
