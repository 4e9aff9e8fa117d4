// The optimizers against torch.optim: tests/golden/README.md describes the file.
#include "core/safetensors.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/muon.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

constexpr Dim kSteps = 20;
const std::vector<std::string> kNames{"matrix", "factors", "bias"};

struct Case {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const Parameters&)> make;
  double max_norm = 0;
  bool scheduled = false;
};

// The cases decay all three parameters.
template <class Options>
Options decayed_everywhere(double lr, double weight_decay) {
  Options options;
  options.lr = lr;
  options.weight_decay = weight_decay;
  options.decayed = {Role::matrix, Role::bias};
  return options;
}

auto sgd(double lr, double momentum, bool nesterov, double weight_decay) {
  auto options = decayed_everywhere<SgdOptions>(lr, weight_decay);
  options.momentum = momentum;
  options.nesterov = nesterov;
  return [options](const Parameters& parameters) { return std::make_unique<Sgd>(parameters, options); };
}

auto adamw(double lr, AdamSettings settings, double weight_decay) {
  auto options = decayed_everywhere<AdamWOptions>(lr, weight_decay);
  options.adam = settings;
  return [options](const Parameters& parameters) { return std::make_unique<AdamW>(parameters, options); };
}

auto muon(double lr, double adamw_lr, double momentum, bool nesterov, double weight_decay, int ns_steps) {
  auto options = decayed_everywhere<MuonOptions>(lr, weight_decay);
  options.adamw_lr = adamw_lr;
  options.momentum = momentum;
  options.nesterov = nesterov;
  options.ns_steps = ns_steps;
  options.ns_bf16 = false;
  return [options](const Parameters& parameters) { return std::make_unique<Muon>(parameters, options); };
}

const std::vector<Case> kCases{
    {"sgd_plain", sgd(0.05, 0, false, 0)},
    {"sgd_momentum", sgd(0.05, 0.9, false, 0)},
    {"sgd_nesterov", sgd(0.05, 0.9, true, 0)},
    {"sgd_decay", sgd(0.05, 0.8, true, 0.1)},
    {"adamw", adamw(0.01, {}, 0)},
    {"adamw_decay", adamw(0.02, {0.8, 0.95, 1e-3}, 0.1)},
    {"adamw_clipped", adamw(0.02, {0.9, 0.95, 1e-8}, 0.1), 3.0, true},
    {"muon", muon(0.02, 0.01, 0.95, true, 0, 5)},
    {"muon_decay", muon(0.05, 0.02, 0.8, false, 0.1, 3)},
};

}  // namespace

TEST_CASE("optimizers match PyTorch") {
  const SafetensorsFile golden(ASHLAR_SOURCE_DIR "/tests/golden/optimizers.safetensors");
  const auto factors = golden.read("lr_factors").to_vector<double>();
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Case& c : kCases) {
      INFO(c.name << " " << dtype);
      Parameters parameters;
      for (const std::string& name : kNames) {
        Parameter p{name, Tensor::leaf(golden.read("weights/" + name).to(dtype)), {}};
        p.info.role = name == "bias" ? Role::bias : Role::matrix;
        p.info.batch_dims = name == "factors" ? 1 : 0;
        parameters.push_back(p);
      }
      const auto optimizer = c.make(parameters);
      for (Dim step = 0; step < kSteps; ++step) {
        for (const Parameter& p : parameters) {
          p.tensor.set_grad(golden.read("gradients/" + p.name).select(0, step).to(dtype));
        }
        const Clip clip = clip_grad_norm(parameters, c.max_norm);
        optimizer->step(c.scheduled ? factors[static_cast<std::size_t>(step)] : 1.0, clip.scale);
        optimizer->zero_grad();
      }
      const State state = optimizer->state();
      const double tolerance = dtype == DType::f64 ? 1e-13 : 1e-6;
      for (const Parameter& p : parameters) {
        const std::string expected = concat(c.name, "/", dtype, "/", p.name);
        REQUIRE(relative_error(p.tensor.value(), golden.read(expected)) <= tolerance);
        for (const char* key : {"/momentum_buffer", "/exp_avg", "/exp_avg_sq"}) {
          REQUIRE(golden.contains(expected + key) == (state.count(p.name + key) > 0));
          if (!golden.contains(expected + key)) continue;
          REQUIRE(relative_error(state.at(p.name + key), golden.read(expected + key)) <= tolerance);
        }
        REQUIRE(state.at(p.name + "/step").item() == kSteps);
      }
    }
  }
}
