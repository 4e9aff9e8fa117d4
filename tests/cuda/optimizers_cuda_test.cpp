// Updates on a GPU against the CPU's, from the same weights and gradients.
#include "examples/models/gpt2.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "layers/linear_spec.h"
#include "optim/make_optimizer.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

using Named = std::map<std::string, Array>;

// A GPT-2's parameters and their optimizer, with matrices of several shapes, alone and in batches, each shape more than once.
class Updated {
 public:
  Updated(Device device, const optim::OptimizerConfig& config)
      : model_(Scope::root(DType::f32, 3, device), gpt()), optimizer_(optim::make_optimizer(model_.parameters(), config)) {}

  // Updates number `first` … `last` - 1, from gradients that are the same everywhere.
  void update(std::uint64_t first, std::uint64_t last) {
    const Parameters parameters = model_.parameters();
    for (std::uint64_t step = first; step < last; ++step) {
      for (std::uint64_t i = 0; i < parameters.size(); ++i) {
        const Tensor& weight = parameters[i].tensor;
        weight.set_grad(randn(weight.shape(), DType::f32, 100 * step + i).to(weight.device()));
      }
      optimizer_->step(1 / static_cast<double>(step + 1), 0.5);
    }
  }
  Named weights() const {
    Named result;
    for (const Parameter& p : model_.parameters()) result[p.name] = p.tensor.value().to(Device{}).clone();
    return result;
  }
  Named state() const {
    Named result;
    for (const auto& [name, values] : optimizer_->state()) result[name] = values.to(Device{}).clone();
    return result;
  }
  void go_on_from(const Updated& other) {
    const Named weights = other.weights();
    for (const Parameter& p : model_.parameters()) copy(weights.at(p.name), p.tensor.value());
    optimizer_->load_state(other.state());
  }

 private:
  static GptConfig gpt() {
    GptConfig config{.vocab = 40, .context = 8, .width = 24, .depth = 2, .heads = 2};
    config.linear.qkv = "blast:blocks=2,rank=8", config.linear.fc2 = "low_rank:rank=16";
    return config;
  }
  Gpt2 model_;
  std::unique_ptr<optim::Optimizer> optimizer_;
};

Named changes(const Named& before, const Named& after) {
  Named result;
  for (const auto& [name, values] : after) {
    result[name] = empty_like(values);
    kernels::linear_combination({}, values, 1, before.at(name), -1, result[name]);
  }
  return result;
}

void check_same(const Named& got, const Named& expected, double tolerance) {
  for (const auto& [name, values] : expected) {
    INFO(name);
    CHECK(difference(got.at(name), values) <= tolerance);
  }
}

// Of optimizers that multiply by roots or bases of averages over gradients: after one of them what they do to the directions
// that it does not have is arbitrary.
bool is_settled_late(const std::string& name) { return name == "shampoo" || name == "soap"; }

}  // namespace

TEST_CASE("every optimizer's updates are those of the CPU", "[cuda]") {
  if (!has_gpu()) return;
  for (const std::string& name : optim::optimizer_names()) {
    optim::OptimizerConfig config{.name = name, .settings = {{"weight_decay", 0.1}}};
    // So that there are matrices above the rank, and what is found anew now and then is, twice.
    for (const auto& [key, value] : std::map<std::string, double>{{"rank", 6}, {"refresh_every", 2}}) {
      if (optim::default_settings(name).contains(key)) config.settings[key] = value;
    }
    for (const bool in_bf16 : {false, true}) {
      if (optim::default_settings(name).contains("ns_bf16")) config.settings["ns_bf16"] = in_bf16;
      else if (in_bf16) continue;
      INFO(name << (in_bf16 ? ", in bf16" : ""));
      const double tolerance = in_bf16 ? 5e-2 : 1e-3;
      for (const std::uint64_t begun : {0u, 12u}) {
        if (begun == 0 && is_settled_late(name)) continue;
        INFO("from update " << begun << " on");
        Updated here(Device{}, config), there(kGpu, config);
        here.update(0, begun);
        there.go_on_from(here);
        const Named before = here.weights();
        here.update(begun, begun + 4);
        there.update(begun, begun + 4);
        check_same(changes(before, there.weights()), changes(before, here.weights()), tolerance);
        check_same(there.state(), here.state(), tolerance);
      }
    }
  }
}

TEST_CASE("eigenvalues and traces of matrices whose rows lie apart are those of the CPU", "[cuda]") {
  if (!has_gpu()) return;
  const Array wide = randn({2, 3, 8}, DType::f64, 1), here = wide.slice(2, 0, 3), there = wide.to(kGpu).slice(2, 0, 3);
  for (const Array& apart : {here, there}) CHECK(linalg::traces(apart) == linalg::traces(here.as_contiguous()));
  const linalg::Eigen eigen = linalg::eigh(linalg::gram(there)), expected = linalg::eigh(linalg::gram(here));
  CHECK(eigen.values.device() == kGpu);
  CHECK(eigen.vectors.device() == kGpu);
  CHECK(difference(eigen.values.to(Device{}), expected.values) <= gpu_tolerance(DType::f64));
}
