#include "optim/projected_adamw.h"

#include "kernels/linalg/linalg.h"
#include "optim/dct_adamw.h"
#include "optim/galore.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

template <class Options>
Options of_rank(Dim rank) {
  Options options;
  options.rank = rank;
  options.weight_decay = 0;
  return options;
}

Parameter matrix(const Shape& shape) { return {"w", Tensor::leaf(Array::zeros(shape, DType::f64)), {}}; }

Array square_identity(Dim n) {
  return linalg::damped(Array::zeros({1, n, n}, DType::f64), [](Dim) { return 1.0; }).reshape({n, n});
}

}  // namespace

TEST_CASE("the DCT basis is orthonormal and begins with the mean") {
  for (const Dim n : {1, 2, 7, 16}) {
    const Array basis = dct_basis(n);
    REQUIRE(relative_error(linalg::product(basis, basis.transpose(0, 1)), square_identity(n)) <= 1e-14);
    REQUIRE(relative_error(basis.select(0, 0), Array::full({n}, 1 / std::sqrt(static_cast<double>(n)), DType::f64)) <=
            1e-14);
  }
}

TEST_CASE("a step stays in the directions: of the largest singular values, of the largest cosines") {
  // A gradient of rank 2 and one of two cosines are followed whole, whichever side is the short one.
  const Array low_rank = linalg::product(randn({9, 2}, DType::f64, 1), randn({2, 6}, DType::f64, 2));
  const Array cosines = dct_basis(6);
  const Array rows = Array::empty({2, 6}, DType::f64);
  copy(cosines.select(0, 1), rows.select(0, 0));
  copy(cosines.select(0, 4), rows.select(0, 1));
  const Array two_cosines = linalg::product(randn({9, 2}, DType::f64, 3), rows);
  const auto outside = [](auto make, const Array& gradient, const Array& directions) {
    double sum = 0;  // NaN shows in it
    for (const bool wide : {false, true}) {
      const Parameter p = matrix(wide ? Shape{6, 9} : Shape{9, 6});
      const auto optimizer = make(Parameters{p});
      p.tensor.set_grad(wide ? gradient.transpose(0, 1) : gradient);
      optimizer->step();
      const Array step = wide ? p.tensor.value().transpose(0, 1) : p.tensor.value();
      const Array inside = linalg::product(linalg::product(step, directions), directions.transpose(0, 1));
      sum += relative_error(inside, step);
    }
    return sum;
  };
  const Array vt = linalg::svd(low_rank).vt.slice(0, 0, 2);
  const auto galore = [](const Parameters& p) { return std::make_unique<Galore>(p, of_rank<ProjectedOptions>(2)); };
  const auto dct = [](const Parameters& p) { return std::make_unique<DctAdamW>(p, of_rank<DctOptions>(2)); };
  REQUIRE(outside(galore, low_rank, vt.transpose(0, 1)) <= 1e-12);
  REQUIRE(outside(dct, two_cosines, rows.transpose(0, 1)) <= 1e-12);
}

TEST_CASE("DCT-AdamW keeps the moments of the directions that stay") {
  const Parameter p = matrix({8, 6});
  DctOptions options = of_rank<DctOptions>(2);
  options.refresh_every = 1;
  DctAdamW optimizer({p}, options);
  const Array cosines = dct_basis(6);
  const auto step_along = [&](Dim a, Dim b) {
    Array gradient = Array::zeros({8, 6}, DType::f64);
    for (Dim i = 0; i < 48; ++i) {
      gradient.data<double>()[i] = cosines.data<double>()[a * 6 + i % 6] + 2 * cosines.data<double>()[b * 6 + i % 6];
    }
    p.tensor.set_grad(gradient);
    optimizer.step();
  };
  const Array indices = optimizer.state().at("w/indices"), m = optimizer.state().at("w/exp_avg");
  step_along(2, 4);
  REQUIRE(indices.to_vector<double>() == std::vector<double>{2, 4});
  REQUIRE(std::abs(m.to_vector<double>()[0] - 0.1) <= 1e-12);
  REQUIRE(std::abs(m.to_vector<double>()[1] - 0.2) <= 1e-12);
  step_along(1, 2);
  REQUIRE(indices.to_vector<double>() == std::vector<double>{1, 2});
  REQUIRE(std::abs(m.to_vector<double>()[0] - 0.1) <= 1e-12);              // begins
  REQUIRE(std::abs(m.to_vector<double>()[1] - (0.9 * 0.1 + 0.2)) <= 1e-12);  // goes on
}

TEST_CASE("with error feedback, what a step leaves out of the gradient comes back until it is the largest part") {
  const Array cosines = dct_basis(6);
  Array gradient = Array::zeros({8, 6}, DType::f64), smaller = Array::zeros({1, 8, 6}, DType::f64);
  for (Dim i = 0; i < 48; ++i) {
    smaller.data<double>()[i] = 1.5 * cosines.data<double>()[2 * 6 + i % 6];
    gradient.data<double>()[i] = smaller.data<double>()[i] + 2 * cosines.data<double>()[4 * 6 + i % 6];
  }
  const auto chosen = [&](bool error_feedback, bool wide) {
    const Parameter p = matrix(wide ? Shape{6, 8} : Shape{8, 6});
    DctOptions options = of_rank<DctOptions>(1);
    options.refresh_every = 1;
    options.error_feedback = error_feedback;
    DctAdamW optimizer({p}, options);
    std::vector<double> indices;
    for (int step = 0; step < 4; ++step) {
      p.tensor.set_grad(wide ? gradient.transpose(0, 1) : gradient);
      optimizer.step();
      indices.push_back(optimizer.state().at("w/indices").item());
      if (error_feedback && step == 0) REQUIRE(relative_error(optimizer.state().at("w/error"), smaller) <= 1e-12);
    }
    return indices;
  };
  for (const bool wide : {false, true}) {
    REQUIRE(chosen(true, wide) == std::vector<double>{4, 2, 4, 2});
    REQUIRE(chosen(false, wide) == std::vector<double>{4, 4, 4, 4});
  }
}

TEST_CASE("matrices take turns: each finds its directions in the first step, then one of them in every other step") {
  Parameters parameters;
  for (const char* name : {"a", "b", "c"}) parameters.push_back(make_parameter(name, {8, 6}));
  ProjectedOptions options = of_rank<ProjectedOptions>(2);
  options.refresh_every = 6;
  Galore optimizer(parameters, options);
  std::vector<std::string> changes;
  for (std::uint64_t step = 0; step < 13; ++step) {
    std::map<std::string, Array> before;
    for (const Parameter& p : parameters) before[p.name] = optimizer.state().at(p.name + "/directions").clone();
    set_gradients(parameters, step);
    optimizer.step();
    changes.emplace_back();
    for (const Parameter& p : parameters) {
      if (!bitwise_equal(optimizer.state().at(p.name + "/directions"), before.at(p.name))) changes.back() += p.name;
    }
  }
  REQUIRE(changes == std::vector<std::string>{"abc", "", "c", "", "b", "", "a", "", "c", "", "b", "", "a"});
}

TEST_CASE("projected optimizers keep little state, and AdamW's for matrices that are thin already") {
  Parameters parameters{make_parameter("dense", {64, 40}), make_parameter("factors", {3, 20, 8}),
                        make_parameter("bias", {64}, Role::bias)};
  const Galore galore(parameters, of_rank<ProjectedOptions>(8));
  const DctAdamW dct(parameters, of_rank<DctOptions>(8));
  const std::size_t steps = 3 * sizeof(Dim), rest = 2 * (3 * 20 * 8 + 64) * sizeof(float);
  REQUIRE(galore.state_bytes() == (2 * 64 * 8 + 40 * 8) * sizeof(float) + rest + steps);
  REQUIRE(dct.state_bytes() == 2 * 64 * 8 * sizeof(float) + 8 * sizeof(Dim) + rest + steps);
  REQUIRE(galore.state().count("factors/directions") == 0);
  REQUIRE(dct.state().at("dense/indices").shape() == Shape{1, 8});
  REQUIRE(galore.slots()[0].lr == ProjectedOptions().lr);
  REQUIRE(galore.slots()[1].lr == ProjectedOptions().adamw_lr);
}

TEST_CASE("projected optimizers refuse settings that mean nothing") {
  const Parameters parameters = make_parameters();
  const auto message = [&](auto change) {
    ProjectedOptions options;
    change(options);
    return message_of<InputError>([&] { Galore(parameters, options); });
  };
  REQUIRE_THAT(message([](auto& o) { o.rank = 0; }), says("galore: rank must be at least 1"));
  REQUIRE_THAT(message([](auto& o) { o.refresh_every = 0; }), says("galore: refresh_every must be at least 1"));
  REQUIRE_THAT(message([](auto& o) { o.scale = 0; }), says("galore: scale must be above 0"));
  REQUIRE_THROWS_WITH(DctAdamW(parameters, of_rank<DctOptions>(0)), says("dct_adamw: rank must be at least 1"));
}
