#include "optim/muon.h"

#include "kernels/linalg/linalg.h"
#include "kernels/matmul/matmul.h"
#include "optim/make_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

TEST_CASE("Newton-Schulz brings every singular value into the band and keeps the singular vectors") {
  const auto [rows, columns] = GENERATE(std::pair<Dim, Dim>{32, 64}, std::pair<Dim, Dim>{64, 32},
                                        std::pair<Dim, Dim>{17, 5}, std::pair<Dim, Dim>{1, 7});
  const Array x = randn({3, rows, columns}, DType::f64, 5);
  const Array y = newton_schulz(x, 5);
  REQUIRE(y.shape() == x.shape());
  for (Dim i = 0; i < 3; ++i) {
    const linalg::Svd before = linalg::svd(x.select(0, i).as_contiguous());
    const linalg::Svd after = linalg::svd(y.select(0, i).as_contiguous());
    for (const double s : after.s.to_vector<double>()) {
      REQUIRE(s > 0.67);
      REQUIRE(s < 1.21);
    }
    // uᵀ y v is diagonal in the bases of x.
    Array core = linalg::product(linalg::product(before.u.transpose(0, 1), y.select(0, i)), before.vt.transpose(0, 1));
    double off_diagonal = 0;
    const auto values = core.to_vector<double>();
    const auto k = static_cast<std::size_t>(core.size(0));
    for (std::size_t a = 0; a < k; ++a) {
      for (std::size_t b = 0; b < k; ++b) {
        if (a != b) off_diagonal = std::max(off_diagonal, std::abs(values[a * k + b]));
      }
    }
    REQUIRE(off_diagonal < 1e-10);
  }
}

TEST_CASE("Newton-Schulz in bf16 moves no singular value of its result by more than a few hundredths") {
  const auto [rows, columns] = GENERATE(std::pair<Dim, Dim>{48, 160}, std::pair<Dim, Dim>{160, 48},
                                        std::pair<Dim, Dim>{96, 96}, std::pair<Dim, Dim>{192, 768});
  const Array x = randn({2, rows, columns}, DType::f32, 5);
  const Array exact = newton_schulz(x, 5), rounded = newton_schulz(x, 5, DType::bf16);
  REQUIRE(rounded.dtype() == DType::bf16);
  REQUIRE(relative_error(rounded, exact) <= 0.04);
  REQUIRE(relative_error(rounded, exact) > 1e-3);  // it does round
  for (Dim i = 0; i < 2; ++i) {
    const auto before = linalg::svd(exact.select(0, i)).s.to_vector<double>();
    const auto after = linalg::svd(rounded.select(0, i)).s.to_vector<double>();
    double most = 0;
    for (std::size_t k = 0; k < before.size(); ++k) most = std::max(most, std::abs(after[k] - before[k]));
    REQUIRE(most <= 0.05);
  }
  REQUIRE(all_equal(newton_schulz(Array::zeros({2, 4, 3}, DType::f32), 5, DType::bf16), 0));
}

TEST_CASE("Muon's step has singular values in the band, matrix by matrix, in f32, bf16 and f64") {
  for (const auto& [dtype, ns_bf16] : {std::pair{DType::f32, 0.0}, std::pair{DType::f32, 1.0}, std::pair{DType::f64, 0.0}}) {
    const Parameter p{"w", Tensor::leaf(Array::zeros({3, 24, 60}, dtype)), {.batch_dims = 1}};
    const auto muon = make_optimizer({p}, {.name = "muon", .settings = {{"lr", 1}, {"ns_bf16", ns_bf16}}});
    set_gradients({p}, 0);
    muon->step();
    for (Dim k = 0; k < 3; ++k) {
      for (const double s : linalg::svd(p.tensor.value().select(0, k)).s.to_vector<double>()) {
        REQUIRE(s > 0.67);
        REQUIRE(s < 1.15);
      }
    }
  }
}

TEST_CASE("Muon rounds to bf16 where the processor multiplies bf16, and only where it is asked to") {
  const auto step_of = [](double ns_bf16, DType dtype) {
    const Parameter p = make_parameter("w", {32, 48}, Role::matrix, dtype);
    const auto muon = make_optimizer({p}, {.name = "muon", .settings = {{"ns_bf16", ns_bf16}}});
    set_gradients({p}, 0);
    muon->step();
    return p.tensor.value();
  };
  REQUIRE(bitwise_equal(step_of(1, DType::f32), step_of(0, DType::f32)) != kernels::multiplies_bf16({}));
  REQUIRE(bitwise_equal(step_of(1, DType::f64), step_of(0, DType::f64)));
}

TEST_CASE("Newton-Schulz maps singular values as its polynomial does") {
  // diag(s) scaled to norm 1: the scalar map of Jordan et al., five times.
  const std::vector<double> s{0.001, 0.25, 0.75};
  std::vector<double> values(9, 0.0);
  double norm = 0;
  for (std::size_t i = 0; i < 3; ++i) norm += s[i] * s[i];
  norm = std::sqrt(norm) + 1e-7;
  for (std::size_t i = 0; i < 3; ++i) values[4 * i] = s[i];
  const auto got = newton_schulz(Array::from(values, {1, 3, 3}), 5).to_vector<double>();
  for (std::size_t i = 0; i < 3; ++i) {
    double x = s[i] / norm;
    for (int step = 0; step < 5; ++step) x = 3.4445 * x - 4.7750 * std::pow(x, 3) + 2.0315 * std::pow(x, 5);
    REQUIRE(std::abs(got[4 * i] - x) < 1e-12);
  }
}

TEST_CASE("Newton-Schulz leaves zeros and does not depend on the size of its input") {
  REQUIRE(all_equal(newton_schulz(Array::zeros({2, 4, 3}, DType::f32), 5), 0));
  const Array x = randn({1, 6, 9}, DType::f64, 1);
  const Array large = randn({1, 6, 9}, DType::f64, 1);
  for (Dim i = 0; i < x.numel(); ++i) large.data<double>()[i] *= 1e6;
  REQUIRE(relative_error(newton_schulz(large, 5), newton_schulz(x, 5)) <= 1e-6);
}

TEST_CASE("Muon gives its own update to hidden matrices only") {
  Parameters parameters = make_parameters();
  parameters.push_back(make_parameter("head.weight", {10, 6}));
  parameters.back().info.hidden = false;
  for (const Shape& shape : {Shape{1, 6}, Shape{6, 1}, Shape{0, 6}}) {
    parameters.push_back(make_parameter(concat("no matrix ", shape), shape));
  }
  MuonOptions options;
  options.lr = 0.5;
  options.adamw_lr = 0.25;
  options.groups = {{.match = name_is("norm.weight"), .lr_factor = 0.5}};
  const Muon muon(parameters, options);
  for (const Slot& slot : muon.slots()) {
    const std::string& name = slot.parameter.name;
    INFO(name);
    const bool own = name == "blocks.0.fc.weight" || name == "blocks.0.fc.U";
    REQUIRE((slot.state.count("momentum_buffer") == 1) == own);
    REQUIRE((slot.state.count("exp_avg") == 1) == !own);
    REQUIRE(slot.lr == (own ? 0.5 : name == "norm.weight" ? 0.125 : 0.25));
  }
}

TEST_CASE("batch_dims says which dimensions of a parameter count matrices") {
  const auto step_of = [](const Shape& shape, int batch_dims) {
    const Parameter p{"w", Tensor::leaf(Array::zeros(shape, DType::f64)), {.batch_dims = batch_dims}};
    MuonOptions options;
    options.lr = 1;
    Muon muon({p}, options);
    set_gradients({p}, 0);
    muon.step();
    return p.tensor.value().reshape({-1});
  };
  REQUIRE(bitwise_equal(step_of({4, 3, 5}, 0), step_of({4, 15}, 0)));
  REQUIRE(bitwise_equal(step_of({2, 2, 3, 5}, 2), step_of({4, 3, 5}, 1)));
  REQUIRE_FALSE(bitwise_equal(step_of({4, 3, 5}, 1), step_of({4, 3, 5}, 0)));
  const Muon muon({make_parameter("pairs", {3, 5}), {"vectors", Tensor::leaf(Array::zeros({3, 5})), {.batch_dims = 1}}}, {});
  REQUIRE(slot_of(muon, "pairs").state.contains("momentum_buffer"));
  REQUIRE_FALSE(slot_of(muon, "vectors").state.contains("momentum_buffer"));
}

TEST_CASE("Muon's step grows with the features that a map makes, whatever way its factor is stored") {
  const auto step_size = [](const Shape& shape, Dim fan_in, Dim fan_out) {
    Parameter p = make_parameter("w", shape, Role::matrix, DType::f64);
    p.info.fan_in = fan_in;
    p.info.fan_out = fan_out;
    copy(Array::zeros(shape, DType::f64), p.tensor.value());
    MuonOptions options;
    options.lr = 1;
    Muon muon({p}, options);
    set_gradients({p}, 0);
    muon.step();
    return linalg::frobenius(p.tensor.value());
  };
  const double wide = step_size({8, 32}, 32, 8);
  REQUIRE(std::abs(step_size({8, 32}, 8, 32) / wide - 2) < 1e-12);  // V of a low-rank map: (in, rank)
  const double tall = step_size({32, 8}, 8, 32);
  REQUIRE(std::abs(step_size({32, 8}, 32, 8) / tall - 0.5) < 1e-12);
  REQUIRE(std::abs(step_size({32, 8}, 0, 0) / tall - 1) < 1e-12);  // rows are outputs where the fans are unknown
}

TEST_CASE("Muon refuses settings that mean nothing") {
  const Parameters parameters = make_parameters();
  MuonOptions options;
  options.momentum = 1;
  REQUIRE_THROWS_WITH(Muon(parameters, options), says("muon: momentum must be in [0, 1)"));
  options.momentum = 0.9;
  options.ns_steps = 0;
  REQUIRE_THROWS_WITH(Muon(parameters, options), says("muon: ns_steps must be at least 1"));
  REQUIRE_THROWS_WITH(make_optimizer(parameters, {.name = "muon", .settings = {{"ns_steps", 1e300}}}),
                      says("muon: ns_steps must be a whole number"));
}
