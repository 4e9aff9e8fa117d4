// The preconditioned optimizers against reference implementations: tests/golden/README.md describes the file.
#include "core/safetensors.h"
#include "kernels/linalg/linalg.h"
#include "optim/make_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

constexpr Dim kSteps = 20;

struct Case {
  std::string name, optimizer;
  Settings settings;  // beside those of plain() or decayed()
};

Settings plain() {
  return {{"lr", 0.02}, {"adamw_lr", 0.01}, {"beta1", 0.9}, {"beta2", 0.95}, {"eps", 1e-8}, {"weight_decay", 0}};
}
Settings decayed() {
  return {{"lr", 0.05}, {"adamw_lr", 0.02}, {"beta1", 0.8}, {"beta2", 0.9}, {"eps", 1e-3}, {"weight_decay", 0.1}};
}

const std::vector<Case> kCases{
    {"soap", "soap", {{"refresh_every", 3}, {"max_precond_dim", 6}}},
    {"soap_decay", "soap", {{"refresh_every", 5}, {"max_precond_dim", 4}}},
    {"shampoo", "shampoo", {{"refresh_every", 3}, {"max_precond_dim", 6}, {"damping", 1e-4}, {"graft", 1}}},
    {"shampoo_decay", "shampoo", {{"refresh_every", 1}, {"max_precond_dim", 4}, {"damping", 1e-2}, {"graft", 0}}},
    {"precgd", "precgd", {{"momentum", 0.9}, {"damping", 0.1}, {"refresh_every", 3}, {"rms", 0}}},
    {"precgd_decay", "precgd", {{"momentum", 0.5}, {"damping", 0.01}, {"refresh_every", 1}, {"rms", 0.2}}},
    {"scaled_gd", "scaled_gd", {{"lr", 0.005}, {"momentum", 0}, {"refresh_every", 1}}},
    {"scaled_gd_decay", "scaled_gd", {{"lr", 0.005}, {"momentum", 0.5}, {"refresh_every", 4}}},
    {"galore", "galore", {{"rank", 2}, {"refresh_every", 7}, {"scale", 0.25}}},
    {"galore_decay", "galore", {{"rank", 3}, {"refresh_every", 5}, {"scale", 1}}},
    {"dct", "dct_adamw", {{"rank", 2}, {"refresh_every", 4}, {"scale", 0.25}}},
    {"dct_feedback", "dct_adamw", {{"rank", 2}, {"refresh_every", 4}, {"scale", 0.25}, {"error_feedback", 1}}},
    {"dct_decay", "dct_adamw", {{"rank", 3}, {"refresh_every", 1}, {"scale", 1}}},
};

Parameters parameters_of(const Case& c, const SafetensorsFile& golden, DType dtype) {
  const bool factors = c.optimizer == "precgd" || c.optimizer == "scaled_gd";
  const auto names = factors ? std::vector<std::string>{"left", "right", "factors", "partners", "bias"}
                             : std::vector<std::string>{"tall", "wide", "factors", "bias"};
  Parameters parameters;
  for (const std::string& name : names) {
    parameters.push_back({name, Tensor::leaf(golden.read("weights/" + name).to(dtype)), {}});
    parameters.back().info.role = name == "bias" ? Role::bias : Role::matrix;
    parameters.back().info.batch_dims = parameters.back().tensor.shape().ndim() == 3 ? 1 : 0;
  }
  // Each factor of a product has the Gram matrices of the other one.
  for (std::size_t i = 0; factors && i < 4; ++i) {
    const Tensor other = parameters[i ^ 1].tensor;
    parameters[i].info.gram = [other] {
      return linalg::gram(other.value().reshape({-1, other.size(-2), other.size(-1)}));
    };
  }
  return parameters;
}

}  // namespace

TEST_CASE("preconditioned optimizers match their reference implementations") {
  const SafetensorsFile golden(ASHLAR_SOURCE_DIR "/tests/golden/preconditioned.safetensors");
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Case& c : kCases) {
      INFO(c.name << " " << dtype);
      const Parameters parameters = parameters_of(c, golden, dtype);
      OptimizerConfig config{
          .name = c.optimizer, .settings = c.settings, .parameters = {.decayed = {Role::matrix, Role::bias}}};
      config.settings.merge(c.name.ends_with("_decay") ? decayed() : plain());
      const auto optimizer = make_optimizer(parameters, config);
      for (Dim step = 0; step < kSteps; ++step) {
        for (const Parameter& p : parameters) {
          p.tensor.set_grad(golden.read("gradients/" + p.name).select(0, step).to(dtype));
        }
        optimizer->step();
        optimizer->zero_grad();
      }
      for (const Parameter& p : parameters) {
        INFO(p.name);
        const Array expected = golden.read(concat(c.name, "/", dtype, "/", p.name));
        REQUIRE(relative_error(p.tensor.value(), expected) <= (dtype == DType::f64 ? 1e-10 : 1e-4));
      }
    }
  }
}
