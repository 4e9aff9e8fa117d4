#include "layers/calibrate.h"

#include "kernels/linalg/linalg.h"
#include "layers/convert.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;
using ashlar::test::contains;
using ashlar::test::error_of;

namespace {

constexpr Dim kIn = 6, kHidden = 9, kOut = 4, kRows = 5, kSamples = 3;

struct Net : Module {
  explicit Net(std::string_view spec, std::uint64_t seed = 1)
      : Module(Scope::root(DType::f64, seed)), fc1(sub("fc1"), kIn, kHidden, spec), fc2(sub("fc2"), kHidden, kOut) {}
  Tensor operator()(const Tensor& x) const { return fc2(F::gelu(fc1(x))); }
  Linear fc1, fc2;
};

Array sample(Dim index) { return randn({kRows, kIn}, DType::f64, static_cast<std::uint64_t>(40 + index)); }

// ½ ‖y‖² of a sample, whose gradient at y is y.
Tensor loss_of(const Net& net, const Array& x) {
  const Tensor y = net(x);
  return F::scale(F::sum(y * y), 0.5);
}

}  // namespace

TEST_CASE("activations: the mean of x xᵀ over all rows that a map sees") {
  Net net("dense");
  const Calibration found =
      calibrate_activations(net, {"fc1", "fc2"}, kSamples, [&](Dim index) {
        REQUIRE_FALSE(grad_enabled());
        net(sample(index));
      });
  Array x = Array::empty({kSamples * kRows, kIn}, DType::f64);
  for (Dim i = 0; i < kSamples; ++i) copy(sample(i), x.slice(0, i * kRows, (i + 1) * kRows));
  const auto expected = [](const Array& rows) {
    auto values = linalg::gram(rows).to_vector<double>();
    for (double& value : values) value /= kSamples * kRows;
    return Array::from(values, {rows.size(1), rows.size(1)});
  };
  REQUIRE(relative_error(found.at("fc1").input_moments, expected(x)) <= 1e-14);
  REQUIRE(relative_error(found.at("fc2").input_moments, expected(F::gelu(net.fc1(x)).value())) <= 1e-14);
  // Nobody watches any more.
  const Array before = found.at("fc1").input_moments.clone();
  net(sample(9));
  REQUIRE(bitwise_equal(found.at("fc1").input_moments, before));
}

TEST_CASE("Fisher: the squares of each row's gradient, sample by sample") {
  Net net("dense");
  const Calibration found =
      calibrate_fisher(net, {"fc2"}, kSamples, [&](Dim index) { return loss_of(net, sample(index)); });
  std::vector<double> expected(kOut);
  for (Dim index = 0; index < kSamples; ++index) {
    const Array hidden = F::gelu(net.fc1(sample(index))).value(), y = net.fc2(hidden).value();
    const Array gradient = linalg::product(y.transpose(0, 1), hidden);  // dL/dW = yᵀ h
    for (Dim i = 0; i < gradient.numel(); ++i) {
      expected[static_cast<std::size_t>(i / kHidden)] += std::pow(gradient.data<double>()[i], 2) / kSamples;
    }
  }
  REQUIRE(found.size() == 1);
  REQUIRE(relative_error(found.at("fc2").row_weights, Array::from(expected, {kOut})) <= 1e-13);
  for (const Parameter& p : net.parameters()) REQUIRE(!p.tensor.grad().defined());
}

TEST_CASE("a calibrated conversion has less error in its outputs than a plain one") {
  Net net("dense"), plain("low_rank:rank=2", 2), weighted("low_rank:rank=2", 3);
  const Calibration found = calibrate_activations(net, {"fc1"}, kSamples, [&](Dim index) { net(sample(index)); });
  const auto options = [&](const std::string& path) {
    return found.contains(path) ? found.at(path) : ProjectionOptions();
  };
  const auto without = convert(net, plain), with = convert(net, weighted, {}, options);
  REQUIRE(without[0].weighted_error == without[0].error);
  REQUIRE(with[0].weighted_error < with[0].error);
  double plain_error = 0, weighted_error = 0;
  for (Dim index = 0; index < kSamples; ++index) {
    const Array x = sample(index), y = net.fc1(x).value();
    plain_error += std::pow(relative_error(plain.fc1(x).value(), y), 2);
    weighted_error += std::pow(relative_error(weighted.fc1(x).value(), y), 2);
  }
  REQUIRE(weighted_error < 0.98 * plain_error);
}

TEST_CASE("what cannot be calibrated is named") {
  Net net("low_rank:rank=2"), full("low_rank:rank=6");  // whose U has the shape of W
  const auto loss = [&](Dim index) { return loss_of(net, sample(index)); };
  REQUIRE(contains(error_of([&] { calibrate_fisher(full, {"fc1"}, 1, loss); }), "these are low_rank:rank=6"));
  REQUIRE(contains(error_of([&] { calibrate_fisher(net, {"fc2"}, 0, loss); }), "needs at least one sample, got 0"));
  REQUIRE(contains(error_of([&] { calibrate_activations(net, {"fc2"}, 0, [](Dim) {}); }), "needs at least one sample"));
  REQUIRE(contains(error_of([&] { calibrate_fisher(net, {"fc1"}, 1, loss); }),
                   "calibrate fc1: the Fisher information needs dense weights, these are low_rank:rank=2"));
  REQUIRE(contains(error_of([&] { calibrate_activations(net, {"fc3"}, 1, loss); }), "the model has no linear map fc3"));
  REQUIRE(contains(error_of([&] { calibrate_activations(net, {"fc1"}, 1, [](Dim) {}); }), "calibrate fc1: no input reached it"));
  Net dense("dense");
  const auto around = [&](Dim index) { return F::sum(dense.fc1(sample(index))); };
  REQUIRE(contains(error_of([&] { calibrate_fisher(dense, {"fc2"}, 1, around); }), "calibrate fc2: no gradient reached it"));
}
