#include <cmath>
#include <numeric>

#include "kernels/clip/checks.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels::cpu {

void clip_gradients(const Exec& exec, std::span<const View> gradients, ConstView squares, ClipRule rule) {
  clipping::check(gradients, squares, rule);
  const double* const values = squares.as<double>();
  const double sum = std::accumulate(values, values + squares.numel(), 0.0);
  const double factor = rule.factor(std::sqrt(sum) / rule.accumulated);
  if (factor == 1) return;
  for (const View& gradient : gradients) scale(exec, gradient, factor, gradient);
}

}  // namespace ashlar::kernels::cpu
