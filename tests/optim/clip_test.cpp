#include "optim/clip.h"

#include "autograd/ops.h"
#include "kernels/clip/clip.h"
#include "optim/adamw.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

double norm_reference(const Parameters& parameters) {
  double sum = 0;
  for (const Parameter& p : parameters) {
    if (!p.tensor.grad().defined()) continue;
    for (const double g : p.tensor.grad().to_vector<double>()) sum += g * g;
  }
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("the norm is that of all gradients together") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Parameters parameters = make_parameters(dtype);
    set_gradients(parameters, 0);
    const double norm = norm_reference(parameters);
    REQUIRE(std::abs(clip_grad_norm(parameters, 0).norm() - norm) <= 1e-12 * norm);
    parameters[0].tensor.set_grad(parameters[0].tensor.grad().transpose(0, 1).clone().transpose(0, 1));
    REQUIRE(std::abs(clip_grad_norm(parameters, 0).norm() - norm) <= 1e-12 * norm);
    parameters[5].tensor.zero_grad();
    const double rest = norm_reference(parameters);
    REQUIRE(rest < norm);
    REQUIRE(std::abs(clip_grad_norm(parameters, 0).norm() - rest) <= 1e-12 * rest);
  }
}

TEST_CASE("without gradients there is nothing to clip") {
  const Clip clip = clip_grad_norm(make_parameters(), 1, 2);
  REQUIRE(clip.norm() == 0);
  REQUIRE(clip.scale == 0.5);
  REQUIRE(clip.largest().name.empty());
}

TEST_CASE("the scale brings a long gradient to max_norm and leaves a short one") {
  const Parameters parameters = make_parameters();
  set_gradients(parameters, 0);
  const double norm = norm_reference(parameters);
  REQUIRE(clip_grad_norm(parameters, 0).scale == 1);
  REQUIRE(clip_grad_norm(parameters, norm * 2).scale == 1);
  REQUIRE(std::abs(clip_grad_norm(parameters, norm / 4).scale * norm - norm / 4) <= 1e-6);
  // Of three accumulated batches the norm is that of the mean.
  const Clip clip = clip_grad_norm(parameters, norm / 6, 3);
  REQUIRE(std::abs(clip.norm() - norm / 3) <= 1e-9 * norm);
  REQUIRE(std::abs(clip.scale * norm - norm / 6) <= 1e-6);
  REQUIRE(clip_grad_norm(parameters, norm, 3).scale == 1.0 / 3);
}

TEST_CASE("clipping in place scales each of the gradients of a sum once, and not what backward was given") {
  const Parameters parameters{make_parameter("a", {5}), make_parameter("b", {5})};
  const Array cotangent = randn({5}, DType::f32, 1), given = cotangent.clone();
  (parameters[0].tensor + parameters[1].tensor).backward(cotangent);
  std::vector<View> gradients;
  for (const Parameter& p : parameters) gradients.push_back(p.tensor.grad());
  const double norm = clip_grad_norm(parameters, 0).norm();
  const Array squares = Array::full({1}, norm * norm, DType::f64);
  kernels::clip_gradients(Exec{}, gradients, squares, {norm / 2, 1});
  REQUIRE(std::abs(clip_grad_norm(parameters, 0).norm() - norm / 2) <= 1e-5 * norm);
  REQUIRE(bitwise_equal(cotangent, given));
}

TEST_CASE("accumulated batches update as their mean") {
  const auto make = [] { return Parameters{make_parameter("w", {13}, Role::matrix, DType::f64)}; };
  const Parameters summed = make(), averaged = make();
  const Array first = randn({13}, DType::f64, 1), second = randn({13}, DType::f64, 2);
  std::vector<double> sum = first.to_vector<double>(), mean = sum;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] += second.to_vector<double>()[i];
    mean[i] = sum[i] / 2;
  }
  summed[0].tensor.set_grad(Array::from(sum, {13}));
  averaged[0].tensor.set_grad(Array::from(mean, {13}));
  Sgd(summed).step(1, clip_grad_norm(summed, 1, 2).scale);
  Sgd(averaged).step(1, clip_grad_norm(averaged, 1).scale);
  REQUIRE(relative_error(summed[0].tensor.value(), averaged[0].tensor.value()) <= 1e-14);
}

TEST_CASE("the norm does not depend on the number of threads") {
  const Parameters parameters{make_parameter("a", {200003}), make_parameter("b", {17, 1009})};
  set_gradients(parameters, 0);
  REQUIRE(same_on_all_threads([&] { return Array::full({1}, clip_grad_norm(parameters, 1).norm(), DType::f64); }));
}

TEST_CASE("the largest gradient is named, one that is not finite first") {
  const Parameters parameters = make_parameters();
  REQUIRE(clip_grad_norm(parameters, 0).largest().name.empty());
  set_gradients(parameters, 0);
  REQUIRE(clip_grad_norm(parameters, 0).largest().name == "wte.weight");
  const Clip whole = clip_grad_norm(parameters, 0), mean = clip_grad_norm(parameters, 0, 4);
  REQUIRE(mean.largest().norm == whole.largest().norm / 4);
  parameters[1].tensor.set_grad(Array::full({3, 5, 4}, 1e20));
  const LargestGradient largest = clip_grad_norm(parameters, 0).largest();
  REQUIRE(largest.name == "blocks.0.fc.U");
  REQUIRE(std::abs(largest.norm - 1e20 * std::sqrt(60.0)) <= 1e14);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Array gradient = Array::zeros({3, 5, 4});
    gradient.data<float>()[23] = bad;
    parameters[2].tensor.set_grad(gradient);
    REQUIRE(clip_grad_norm(parameters, 0).largest().name == "blocks.0.fc.S");
    REQUIRE_FALSE(std::isfinite(clip_grad_norm(parameters, 1).norm()));
  }
}

TEST_CASE("of gradients that are all zero the first is named") {
  const Parameters parameters{make_parameter("a", {5}), make_parameter("b", {5})};
  for (const Parameter& p : parameters) p.tensor.set_grad(Array::zeros({5}));
  REQUIRE(clip_grad_norm(parameters, 1).largest().name == "a");
}

TEST_CASE("no step is taken with a gradient that is not finite") {
  const Parameters parameters{make_parameter("a", {5}), make_parameter("b", {5})};
  AdamW optimizer(parameters);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const double max_norm : {0.0, 1.0}) {
      set_gradients(parameters, 0);
      parameters[0].tensor.grad().data<float>()[3] = bad;
      const Array before = parameters[1].tensor.value().clone();
      const Clip clip = clip_grad_norm(parameters, max_norm);
      REQUIRE_THROWS_WITH(optimizer.step(1, clip.scale), says("check the gradient norm before the step"));
      REQUIRE(bitwise_equal(parameters[1].tensor.value(), before));
      // As a GPU does it, where nobody knows the norm yet: every gradient shows it.
      const std::vector<View> gradients{parameters[0].tensor.grad(), parameters[1].tensor.grad()};
      kernels::clip_gradients(Exec{}, gradients, Array::full({1}, clip.norm() * clip.norm(), DType::f64), {max_norm, 1});
      REQUIRE(std::isnan(parameters[1].tensor.grad().data<float>()[0]));
    }
  }
}

TEST_CASE("clipping refuses settings out of range") {
  const Parameters parameters = make_parameters();
  REQUIRE_THROWS_AS(clip_grad_norm(parameters, -1), InputError);
  REQUIRE_THROWS_AS(clip_grad_norm(parameters, std::nan("")), InputError);
  REQUIRE_THROWS_AS(clip_grad_norm(parameters, 1, 0), InputError);
}
