#include "layers/blast/anderson.h"

#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

// The inner product of a1 - a0 and b1 - b0.
double product_of_steps(const std::vector<double>& a1, const std::vector<double>& a0, const std::vector<double>& b1,
                        const std::vector<double>& b0) {
  double sum = 0;
  for (std::size_t i = 0; i < a1.size(); ++i) sum += (a1[i] - a0[i]) * (b1[i] - b0[i]);
  return sum;
}

}  // namespace

std::vector<double> Anderson::next(const std::vector<double>& x, std::vector<double> g) {
  std::vector<double> residual(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) residual[i] = g[i] - x[i];
  values_.push_back(g);
  residuals_.push_back(std::move(residual));
  if (values_.size() > memory_ + 1) {
    values_.pop_front();
    residuals_.pop_front();
  }
  const std::size_t steps = values_.size() - 1;
  if (steps == 0) return g;
  // Least squares of the residual by the steps of the residuals, through its normal equations.
  const auto n = static_cast<Dim>(steps);
  const Array gram = Array::zeros({1, n, n}, DType::f64), right = Array::zeros({1, 1, n}, DType::f64);
  const std::vector<double>& last = residuals_.back();
  const std::vector<double> zero(last.size());
  for (std::size_t a = 0; a < steps; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      const double value = product_of_steps(residuals_[a + 1], residuals_[a], residuals_[b + 1], residuals_[b]);
      gram.data<double>()[a * steps + b] = gram.data<double>()[b * steps + a] = value;
    }
    right.data<double>()[a] = product_of_steps(residuals_[a + 1], residuals_[a], last, zero);
  }
  const double scale = linalg::traces(gram)[0];
  if (scale == 0) return g;
  constexpr double kDamping = 1e-12;  // steps of a converging iteration are nearly parallel
  const Array damped = linalg::damped(gram, [&](Dim) { return kDamping * scale; });
  const Array weights = linalg::right_solve(linalg::cholesky(damped), right);
  for (std::size_t a = 0; a < steps; ++a) {
    const double weight = weights.data<double>()[a];
    for (std::size_t i = 0; i < g.size(); ++i) g[i] -= weight * (values_[a + 1][i] - values_[a][i]);
  }
  return g;
}

void Anderson::forget() {
  values_.erase(values_.begin(), values_.end() - 1);
  residuals_.erase(residuals_.begin(), residuals_.end() - 1);
}

}  // namespace ashlar
