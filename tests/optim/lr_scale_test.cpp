// The structure-aware multipliers of the learning rate: which optimizers use them, and for what.
#include "optim/make_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

constexpr double kLr = 0.01, kDecay = 0.5, kScale = 4;

// The weights after one step of a model whose U and S have the multiplier. The first step of SOAP only looks at the gradient:
// one at a learning rate of zero comes before.
Parameters stepped(const std::string& name, Settings settings, bool lr_scale) {
  const Parameters parameters = [] {
    Parameters all = make_parameters(DType::f64);
    for (const std::size_t i : {1u, 2u}) all[i].info.lr_scale = kScale;
    return all;
  }();
  settings["lr"] = kLr;
  settings["weight_decay"] = kDecay;
  const auto optimizer =
      make_optimizer(parameters, {.name = name, .settings = settings, .parameters = {.lr_scale = lr_scale}});
  set_gradients(parameters, 0);
  optimizer->step(0.0);
  set_gradients(parameters, 1);
  optimizer->step(0.5);
  return parameters;
}

// How far the step went beyond the weight decay, against the same step without multipliers.
double ratio(const std::string& name, std::size_t parameter, const Settings& settings = {}) {
  const Array before = make_parameters(DType::f64)[parameter].tensor.value();
  const auto length = [&](bool lr_scale) {
    const Array after = stepped(name, settings, lr_scale)[parameter].tensor.value();
    const double kept = make_parameters(DType::f64)[parameter].info.role == Role::matrix ? 1 - 0.5 * kLr * kDecay : 1;
    double squares = 0;
    for (Dim i = 0; i < before.numel(); ++i) {
      squares += std::pow(after.data<double>()[i] - kept * before.data<double>()[i], 2);
    }
    return std::sqrt(squares);
  };
  return length(true) / length(false);
}

}  // namespace

TEST_CASE("lr_scale multiplies the steps of Adam's size, and not their weight decay") {
  // make_parameters(): 0 a dense matrix, 1 the factor U, which has a Gram matrix, 2 the coupling S.
  for (const std::string name : {"adamw", "soap", "shampoo"}) {
    INFO(name);
    REQUIRE(ratio(name, 1) == Approx(kScale));
    REQUIRE(ratio(name, 2) == Approx(kScale));
    REQUIRE(ratio(name, 0) == Approx(1));
  }
  for (const std::string name : {"galore", "dct_adamw"}) {
    INFO(name);
    REQUIRE(ratio(name, 1, {{"rank", 2}}) == Approx(kScale));
    REQUIRE(ratio(name, 2, {{"rank", 2}}) == Approx(kScale));
  }
}

TEST_CASE("lr_scale leaves steps alone whose size Adam's rule does not describe") {
  REQUIRE(ratio("muon", 1) == Approx(1));  // orthogonal
  REQUIRE(ratio("muon", 2) == Approx(kScale));  // the coupling gets AdamW
  REQUIRE(ratio("precgd", 1) == Approx(kScale));
  REQUIRE(ratio("precgd", 1, {{"rms", 0}}) == Approx(1));
  const Parameters parameters = make_parameters();
  REQUIRE_THROWS_WITH(make_optimizer(parameters, {.name = "sgd", .parameters = {.lr_scale = true}}),
                      says("sgd: lr_scale is a rule for steps of Adam's size"));
}

TEST_CASE("without lr_scale the multipliers are not used") {
  for (const std::string& name : optimizer_names()) {
    INFO(name);
    const std::unique_ptr<const Optimizer> optimizer = make_optimizer(stepped(name, {}, false), {.name = name});
    for (const Slot& slot : optimizer->slots()) REQUIRE(slot.lr_scale == 1);
  }
}
