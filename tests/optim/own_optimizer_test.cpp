// The optimizer that optim/README.md derives, as a program of one's own would.
#include "kernels/elementwise/elementwise.h"
#include "optim/matrix_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {
#include "readme_optimizer.h"
}  // namespace

TEST_CASE("the optimizer of the guide does what it says, with a clip factor, a schedule, weight decay and a resumed state") {
  constexpr double kBeta = 0.8, kLr = 0.1, kDecay = 0.2;
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-14}, {DType::f32, 1e-6}}) {
    optim::OptimizerOptions options;
    options.lr = kLr;
    options.weight_decay = kDecay;
    const Parameters parameters{make_parameter("w", {3, 4}, Role::matrix, dtype), make_parameter("b", {5}, Role::bias, dtype)};
    AveragedGradient optimizer(parameters, options, kBeta);
    std::vector<std::vector<double>> weights, averages;
    for (const Parameter& p : parameters) {
      weights.push_back(p.tensor.value().to_vector<double>());
      averages.emplace_back(weights.back().size(), 0.0);
    }
    for (int step = 0; step < 4; ++step) {
      const double factor = 1.0 / (1 + step), scale = 0.5 + 0.1 * step;
      set_gradients(parameters, static_cast<std::uint64_t>(step));
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto gradient = parameters[i].tensor.grad().to_vector<double>();
        const double kept = 1 - (parameters[i].info.role == Role::matrix ? kLr * factor * kDecay : 0.0);
        for (std::size_t k = 0; k < gradient.size(); ++k) {
          averages[i][k] = kBeta * averages[i][k] + (1 - kBeta) * scale * gradient[k];
          weights[i][k] = kept * weights[i][k] - kLr * factor * averages[i][k];
        }
      }
      if (step < 2) {
        optimizer.step(factor, scale);
        continue;
      }
      AveragedGradient resumed(parameters, options, kBeta);
      resumed.load_state(optimizer.state());
      resumed.step(factor, scale);
      optimizer.load_state(resumed.state());
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Array& w = parameters[i].tensor.value();
      REQUIRE(relative_error(w, Array::from(weights[i], w.shape())) <= tolerance);
    }
  }
}
