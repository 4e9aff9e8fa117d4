#include "optim/precgd.h"

#include "kernels/linalg/linalg.h"
#include "layers/linear_map.h"
#include "optim/make_optimizer.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

constexpr Dim kIn = 10, kOut = 12;

// The gradients of ½ ‖W - target‖²: x is the identity.
void set_fit_gradients(const Linear& layer, const Array& target) {
  const Array x = linalg::damped(Array::zeros({1, kIn, kIn}, DType::f64), [](Dim) { return 1.0; }).reshape({kIn, kIn});
  const Tensor y = layer(x);
  Array dy = empty_like(y.value());
  for (Dim i = 0; i < kIn; ++i) {
    for (Dim j = 0; j < kOut; ++j) {
      dy.data<double>()[i * kOut + j] =
          y.value().data<double>()[i * kOut + j] - target.data<double>()[j * kIn + i];
    }
  }
  y.backward(dy);
}

Linear make_layer(const std::string& spec) { return {Scope::root(DType::f64, 3), kIn, kOut, spec, {.bias = false}}; }

// W after each of ten steps from the given factors.
std::vector<Array> trajectory(const Linear& layer, Optimizer& optimizer) {
  const Array target = randn({kOut, kIn}, DType::f64, 5);
  std::vector<Array> path;
  for (int step = 0; step < 10; ++step) {
    set_fit_gradients(layer, target);
    optimizer.step();
    optimizer.zero_grad();
    path.push_back(layer.map().to_dense());
  }
  return path;
}

// A sum, so that NaN shows.
double difference(const std::vector<Array>& a, const std::vector<Array>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += relative_error(a[i], b[i]);
  return sum;
}

PrecGdOptions undamped() {
  PrecGdOptions options;
  options.lr = 0.05;
  options.weight_decay = options.damping = options.rms = 0;
  options.momentum = 0.5;
  options.refresh_every = 3;
  return options;
}

SgdOptions plain_sgd(double lr) {
  SgdOptions options;
  options.lr = lr;
  options.weight_decay = options.momentum = 0;
  return options;
}

void multiply_right(const Parameter& factor, const Array& q) {
  const Array value = factor.tensor.value();
  copy(linalg::product(value, q), value);
}

// An invertible matrix, and its inverse transposed: a product of positive matrices, so that it is not symmetric.
struct Invertible {
  Array q, inverse_transposed;
};
Invertible invertible(Dim n) {
  const auto positive = [&](std::uint64_t key) {
    Array a = linalg::gram(randn({1, n, n}, DType::f64, key));
    for (Dim i = 0; i < a.numel(); ++i) a.data<double>()[i] /= static_cast<double>(n);
    return linalg::damped(a, [](Dim) { return 0.5; });
  };
  const auto inverse = [&](const Array& a) {
    const Array identity = linalg::damped(Array::zeros(a.shape(), DType::f64), [](Dim) { return 1.0; });
    return linalg::right_solve(linalg::cholesky(a), identity);
  };
  const Array a = positive(1), b = positive(2);
  return {linalg::product(a, b).reshape({n, n}), linalg::product(inverse(a), inverse(b)).reshape({n, n})};
}

// ‖W - target‖ / ‖target‖ for a target of rank 2.
double error_after(const std::string& spec, int steps, auto make_optimizer) {
  const Linear layer = make_layer(spec);
  const Array target =
      linalg::product(randn({kOut, 2}, DType::f64, 6), randn({2, kIn}, DType::f64, 7));
  const auto optimizer = make_optimizer(layer.map().parameters());
  for (int step = 0; step < steps; ++step) {
    set_fit_gradients(layer, target);
    optimizer->step();
    optimizer->zero_grad();
  }
  return relative_error(layer.map().to_dense(), target);
}

}  // namespace

TEST_CASE("ScaledGD moves a low-rank matrix the same way however it is split into factors") {
  const auto run = [](bool split_otherwise, auto make_optimizer) {
    const Linear layer = make_layer("low_rank:rank=4");
    const Parameters parameters = layer.map().parameters();
    if (split_otherwise) {
      const Invertible other = invertible(4);
      multiply_right(parameters[0], other.q);
      multiply_right(parameters[1], other.inverse_transposed);
    }
    const auto optimizer = make_optimizer(parameters);
    return trajectory(layer, *optimizer);
  };
  const auto scaled_gd = [](const Parameters& p) {
    return make_optimizer(p, {.name = "scaled_gd", .settings = {{"weight_decay", 0}, {"refresh_every", 3}}});
  };
  const auto damped = [](const Parameters& p) {
    PrecGdOptions options = undamped();
    options.damping = 0.5;
    return std::make_unique<PrecGd>(p, options);
  };
  const auto sgd = [](const Parameters& p) { return std::make_unique<Sgd>(p, plain_sgd(0.02)); };
  REQUIRE(difference(run(true, scaled_gd), run(false, scaled_gd)) <= 1e-9);
  // The test can fail: with damping, and without preconditioning.
  REQUIRE(difference(run(true, damped), run(false, damped)) > 1e-2);
  REQUIRE(difference(run(true, sgd), run(false, sgd)) > 1e-2);
}

TEST_CASE("PrecGD moves a BLAST matrix the same way however the scale is shared among U, V and S") {
  const auto run = [](bool scaled) {
    const Linear layer = make_layer("blast:out_blocks=3,in_blocks=2,rank=2");
    const Parameters parameters = layer.map().parameters();
    if (scaled) {
      const Array u = parameters[0].tensor.value(), s = parameters[2].tensor.value();
      for (Dim i = 0; i < u.numel(); ++i) u.data<double>()[i] *= i % 2 ? 3 : 0.5;
      for (Dim i = 0; i < s.numel(); ++i) s.data<double>()[i] /= i % 2 ? 3 : 0.5;
    }
    PrecGd optimizer(parameters, undamped());
    return trajectory(layer, optimizer);
  };
  REQUIRE(difference(run(true), run(false)) <= 1e-9);
}

TEST_CASE("PrecGD converges as fast when the rank is too large, where plain gradient descent stalls") {
  const auto precgd = [](const Parameters& p) {
    PrecGdOptions options = undamped();
    options.lr = 0.4;
    options.momentum = 0;
    options.refresh_every = 1;
    options.damping = 1e-12;
    return std::make_unique<PrecGd>(p, options);
  };
  const auto sgd = [](const Parameters& p) { return std::make_unique<Sgd>(p, plain_sgd(0.02)); };
  REQUIRE(error_after("low_rank:rank=2", 60, precgd) < 1e-9);
  REQUIRE(error_after("low_rank:rank=8", 60, precgd) < 1e-9);
  REQUIRE(error_after("low_rank:rank=2", 200, sgd) < 1e-6);
  REQUIRE(error_after("low_rank:rank=8", 200, sgd) > 1e-5);
}

TEST_CASE("PrecGD treats a factor whose Gram matrix acts on its rows as its transpose") {
  const Array gram = linalg::gram(randn({2, 6, 3}, DType::f64, 8));
  const auto steps = [&](const Shape& shape, bool on_rows) {
    Parameter p{"w", Tensor::leaf(Array::zeros(shape, DType::f64)), {}};
    p.info.gram = [gram] { return gram; };
    p.info.gram_on_rows = on_rows;
    PrecGd optimizer({p}, undamped());
    const Array gradient = randn({2, 5, 3}, DType::f64, 9);
    p.tensor.set_grad(on_rows ? gradient.transpose(1, 2) : gradient);
    optimizer.step();
    return on_rows ? p.tensor.value().transpose(1, 2) : p.tensor.value();
  };
  REQUIRE(relative_error(steps({2, 3, 5}, true), steps({2, 5, 3}, false)) <= 1e-14);
}

TEST_CASE("PrecGD's steps have the asked-for root mean square, and its other parameters are AdamW's") {
  const Parameters parameters = make_parameters(DType::f64), start = make_parameters(DType::f64);
  PrecGdOptions options;
  options.lr = 0.5;
  options.rms = 0.3;
  options.weight_decay = 0;
  PrecGd optimizer(parameters, options);
  REQUIRE(optimizer.state().count("blocks.0.fc.weight/exp_avg") == 1);
  REQUIRE(optimizer.state().count("blocks.0.fc.U/exp_avg") == 0);
  set_gradients(parameters, 0);
  optimizer.step();
  const auto before = start[1].tensor.value().to_vector<double>(), after = parameters[1].tensor.value().to_vector<double>();
  double squares = 0;
  for (std::size_t i = 0; i < before.size(); ++i) squares += std::pow(after[i] - before[i], 2);
  REQUIRE(std::abs(std::sqrt(squares / static_cast<double>(before.size())) - 0.15) <= 1e-12);
}

TEST_CASE("PrecGD names the parameter whose Gram matrix cannot be factored") {
  Parameter p = make_parameter("blocks.3.fc.U", {5, 3});
  for (const double value : {-1.0, std::nan("")}) {
    p.info.gram = [value] { return Array::full({1, 3, 3}, value); };
    PrecGd optimizer({p}, {});
    set_gradients({p}, 0);
    const std::string message = message_of<Error>([&] { optimizer.step(); });
    REQUIRE_THAT(message, says("precgd: the Gram matrices of blocks.3.fc.U cannot be factored"));
    REQUIRE_THAT(message, says(std::isnan(value) ? "a value is not finite" : "not positive definite"));
  }
}

TEST_CASE("a step that PrecGD could not take counts for nothing: the next one has its own decompositions") {
  const auto step_of = [](bool fail_first) {
    Parameter p = make_parameter("w", {5, 3});
    bool fails = fail_first;
    p.info.gram = [&fails] { return Array::full({1, 3, 3}, fails ? std::nan("") : 1); };
    const Parameter other = make_parameter("b", {5});
    PrecGd optimizer({other, p}, {});
    set_gradients({other, p}, 0);
    if (fails) REQUIRE_THROWS_AS(optimizer.step(), Error);
    fails = false;
    optimizer.step();
    REQUIRE(optimizer.state().at("b/step").item() == 1);
    return std::pair(p.tensor.value(), other.tensor.value());
  };
  const auto [w, b] = step_of(true);
  const auto [w_expected, b_expected] = step_of(false);
  REQUIRE(bitwise_equal(w, w_expected));
  REQUIRE(bitwise_equal(b, b_expected));
}

TEST_CASE("a Gram matrix of zero stops no step: factors of zero, and blocks that are all padding") {
  // Six of seven blocks hold all rows, five all columns.
  for (const std::string name : {"precgd", "scaled_gd"}) {
    const Linear layer = make_layer("blast:blocks=7,rank=2");
    const Parameters parameters = layer.map().parameters();
    const auto optimizer = make_optimizer(parameters, {.name = name, .settings = {{"lr", 0.005}, {"damping", 0.01}}});
    const Array before = layer.map().to_dense();
    REQUIRE(difference({trajectory(layer, *optimizer).back()}, {before}) > 1e-3);
  }
  Parameter p = make_parameter("w", {5, 3});
  p.info.gram = [] { return Array::zeros({1, 3, 3}); };
  const Array before = p.tensor.value().clone();
  for (const std::string name : {"precgd", "scaled_gd"}) {
    const auto optimizer = make_optimizer({p}, {.name = name, .settings = {{"weight_decay", 0}}});
    p.tensor.set_grad(Array::zeros({5, 3}));
    optimizer->step();
    REQUIRE(bitwise_equal(p.tensor.value(), before));
  }
}

TEST_CASE("ScaledGD without damping, and with it, is PrecGD under another name") {
  const auto step_of = [](const OptimizerConfig& config) {
    const Parameters parameters = make_parameters(DType::f64);
    const auto optimizer = make_optimizer(parameters, config);
    set_gradients(parameters, 0);
    optimizer->step();
    return parameters[1].tensor.value();
  };
  const Settings same{{"lr", 0.1}, {"weight_decay", 0.2}, {"momentum", 0.3}};
  for (const double damping : {0.0, 0.5}) {
    OptimizerConfig scaled_gd{.name = "scaled_gd", .settings = same}, precgd{.name = "precgd", .settings = same};
    if (damping > 0) scaled_gd.settings["damping"] = damping;
    precgd.settings["damping"] = damping;
    precgd.settings["rms"] = 0;
    REQUIRE(bitwise_equal(step_of(scaled_gd), step_of(precgd)));
  }
  const Parameters parameters = make_parameters();
  REQUIRE_THROWS_WITH(make_optimizer(parameters, {.name = "scaled_gd", .settings = {{"momentum", 1}}}),
                      says("scaled_gd: momentum must be in [0, 1)"));
}

TEST_CASE("PrecGD refuses settings that mean nothing") {
  const Parameters parameters = make_parameters();
  const auto message = [&](auto change) {
    PrecGdOptions options;
    change(options);
    return message_of<InputError>([&] { PrecGd(parameters, options); });
  };
  REQUIRE_THAT(message([](auto& o) { o.momentum = 1; }), says("precgd: momentum must be in [0, 1)"));
  REQUIRE_THAT(message([](auto& o) { o.damping = -1; }), says("precgd: damping must not be negative"));
  REQUIRE_THAT(message([](auto& o) { o.rms = std::nan(""); }), says("precgd: rms must not be negative"));
  REQUIRE_THAT(message([](auto& o) { o.refresh_every = 0; }), says("precgd: refresh_every must be at least 1"));
}
