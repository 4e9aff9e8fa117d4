#include "optim/shampoo.h"

#include "kernels/linalg/linalg.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

Array diagonal(const std::vector<double>& values) {
  const auto n = static_cast<Dim>(values.size());
  const Array matrix = Array::zeros({1, n, n}, DType::f64);
  for (Dim i = 0; i < n; ++i) matrix.data<double>()[i * n + i] = values[static_cast<std::size_t>(i)];
  return matrix;
}

// Q diag(1, …, condition) Qᵀ with a random Q, (1, n, n).
Array ill_conditioned(Dim n, double condition, std::uint64_t key) {
  const Array q = linalg::orthonormal_columns(randn({1, n, n}, DType::f64, key));
  std::vector<double> values;
  for (Dim i = 0; i < n; ++i) values.push_back(std::pow(condition, static_cast<double>(i) / static_cast<double>(n - 1)));
  return linalg::product(linalg::product(q, diagonal(values)), q.transpose(1, 2));
}

// Descends ½ trace(Wᵀ A W B), with lr falling linearly.
void descend(Optimizer& optimizer, const Parameter& w, const Array& a, const Array& b, int steps) {
  const Dim n = a.size(1);
  for (int step = 0; step < steps; ++step) {
    const Array value = w.tensor.value().reshape({1, n, n});
    w.tensor.set_grad(linalg::product(linalg::product(a, value), b).reshape({n, n}));
    optimizer.step(1 - static_cast<double>(step) / steps);
    optimizer.zero_grad();
  }
}

Parameter identity(Dim n) {
  return {"w", Tensor::leaf(diagonal(std::vector<double>(static_cast<std::size_t>(n), 1.0)).reshape({n, n})), {}};
}

}  // namespace

TEST_CASE("inverse_root undoes a power, and leaves out what is zero") {
  const Array a = diagonal({1, 16, 81});
  REQUIRE(relative_error(inverse_root(a, 4, 0), diagonal({1, 1.0 / 2, 1.0 / 3})) <= 1e-14);
  REQUIRE(relative_error(inverse_root(a, 2, 0, 4), diagonal({2, 2.0 / 4, 2.0 / 9})) <= 1e-14);
  REQUIRE(relative_error(inverse_root(diagonal({0, 0, 1}), 2, 0), diagonal({0, 0, 1})) <= 1e-14);
  REQUIRE(relative_error(inverse_root(diagonal({0, 1}), 2, 0.01), diagonal({10, 1 / std::sqrt(1.01)})) <= 1e-14);
  // What rounding has left below zero is zero.
  REQUIRE(relative_error(inverse_root(diagonal({-1e-7, 1}), 2, 1e-8), diagonal({1e4, 1 / std::sqrt(1 + 1e-8)})) <= 1e-14);
  REQUIRE(all_equal(inverse_root(Array::zeros({2, 3, 3}), 4, 1e-6), 0));
}

TEST_CASE("Shampoo converges in a few steps on a Kronecker quadratic on which gradient descent stands still") {
  constexpr Dim n = 6;
  constexpr int kSteps = 25;
  const Array a = ill_conditioned(n, 100, 1), b = ill_conditioned(n, 100, 2);
  const Parameter by_shampoo = identity(n), by_sgd = identity(n);
  ShampooOptions options;
  // Each step is then the gradient without its singular values: as long in every direction.
  options.adam = {0, 0, 1e-8};
  options.lr = 4.0 / (kSteps + 1);  // the steps add up to 2
  options.weight_decay = options.damping = 0;
  options.graft = false;
  options.refresh_every = 1;
  Shampoo shampoo({by_shampoo}, options);
  SgdOptions plain;
  plain.momentum = plain.weight_decay = 0;
  plain.lr = 1e-4;  // one over the largest curvature
  Sgd sgd({by_sgd}, plain);
  descend(shampoo, by_shampoo, a, b, kSteps);
  descend(sgd, by_sgd, a, b, kSteps);
  const double start = std::sqrt(static_cast<double>(n));
  REQUIRE(linalg::frobenius(by_shampoo.tensor.value()) < 0.2 * start);
  REQUIRE(linalg::frobenius(by_sgd.tensor.value()) > 0.6 * start);
}

TEST_CASE("Shampoo's grafted steps have the length of Adam's, block by block") {
  const auto steps_of = [](auto make) {
    const Parameter p = make_parameter("w", {3, 5, 4}, Role::matrix, DType::f64);
    const Array before = p.tensor.value().clone();
    const auto optimizer = make(Parameters{p});
    set_gradients({p}, 0);
    optimizer->step();
    std::vector<double> lengths;
    for (Dim k = 0; k < 3; ++k) {
      Array moved = Array::empty({5, 4}, DType::f64);
      for (Dim i = 0; i < 20; ++i) {
        moved.data<double>()[i] = p.tensor.value().data<double>()[k * 20 + i] - before.data<double>()[k * 20 + i];
      }
      lengths.push_back(linalg::frobenius(moved));
    }
    return lengths;
  };
  const auto adam = steps_of([](const Parameters& parameters) {
    AdamWOptions options;
    options.lr = 0.1;
    options.weight_decay = 0;
    return std::make_unique<AdamW>(parameters, options);
  });
  const auto shampoo = steps_of([](const Parameters& parameters) {
    ShampooOptions options;
    options.lr = 0.1;
    options.weight_decay = 0;
    return std::make_unique<Shampoo>(parameters, options);
  });
  for (std::size_t k = 0; k < 3; ++k) REQUIRE(std::abs(shampoo[k] / adam[k] - 1) <= 1e-10);
}

TEST_CASE("Shampoo refuses settings that mean nothing") {
  const Parameters parameters = make_parameters();
  const auto message = [&](auto change) {
    ShampooOptions options;
    change(options);
    return message_of<InputError>([&] { Shampoo(parameters, options); });
  };
  REQUIRE_THAT(message([](auto& o) { o.refresh_every = 0; }), says("shampoo: refresh_every must be at least 1"));
  REQUIRE_THAT(message([](auto& o) { o.max_precond_dim = 0; }), says("shampoo: max_precond_dim must be at least 1"));
  REQUIRE_THAT(message([](auto& o) { o.damping = std::nan(""); }), says("shampoo: damping must not be negative"));
}
