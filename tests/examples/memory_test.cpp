// What a training step holds in memory, against what the formulas of the layers say.
#include "core/allocator.h"
#include "examples/models/vit.h"
#include "optim/adamw.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

double bytes_in_use() { return static_cast<double>(allocator().stats().current); }

// Bytes that f(x) leaves behind for backward, its input counted and its result not, over the predicted elements.
template <class F>
double held_over_predicted(const Tensor& x, Dim predicted, const F& f) {
  allocator().trim();  // so that no cached block, larger than what is asked for, is counted
  const double before = bytes_in_use();
  const Tensor y = f(x);
  const double held = bytes_in_use() - before;
  const auto own = static_cast<double>(x.value().numel() - y.value().numel()) * 4;
  return (held + own) / (4 * static_cast<double>(predicted));
}

}  // namespace

TEST_CASE("each piece of a transformer keeps what its formula says") {
  constexpr Dim kBatch = 16, kTokens = 64, kRows = kBatch * kTokens, kWidth = 192;
  const BlockSpecs specs[] = {{}, {"low_rank:rank=32", "low_rank:rank=32", "low_rank:rank=32", "low_rank:rank=32"},
                              {"blast:blocks=3,rank=32", "dense", "blast:blocks=3,rank=32", "blast:blocks=3,rank=32"}};
  for (const BlockSpecs& spec : specs) {
    INFO(spec.qkv);
    const BlockConfig config{.width = kWidth, .heads = 3, .hidden = 4 * kWidth, .specs = spec};
    const Scope root = Scope::root(DType::f32, 1);
    const Tensor x = Tensor::leaf(randn({kBatch, kTokens, kWidth}, DType::f32, 1));
    const auto check = [&](Dim predicted, const auto& piece) {
      const double ratio = held_over_predicted(x, predicted, piece);
      REQUIRE(ratio >= 0.99);
      REQUIRE(ratio <= 1.03);
    };
    const LayerNorm norm(root, kWidth, 1e-6);
    check(norm.saved_elements(kRows), norm);
    const MultiHeadAttention attention(root, config);
    check(attention.saved_elements(kRows), attention);
    const Mlp mlp(root, config);
    check(mlp.saved_elements(kRows), mlp);
    const Block block(root, config);
    check(block.saved_elements(kRows), block);
  }
}

TEST_CASE("the memory of a ViT's training step is what cost() and the formulas predict") {
  for (const char* spec : {"dense", "blast:blocks=3,ratio=0.5"}) {
    INFO(spec);
    allocator().trim();
    const double before = bytes_in_use();
    constexpr Dim kBatch = 32;
    VitConfig config{.class_token = false};
    config.linear = {spec, spec, spec, spec};
    Vit model(Scope::root(DType::f32, 1), config);
    optim::AdamW optimizer(model.parameters(), {});
    const Array images = randn({kBatch, 3, 32, 32}, DType::f32, 2), labels = random_ids({kBatch}, 10, 3);
    double weights = 0;
    for (const Parameter& p : model.parameters()) weights += 4 * static_cast<double>(p.tensor.value().numel());
    // Weights, their gradients, the optimizer's state, the activations.
    const double predicted = 2 * weights + static_cast<double>(optimizer.state_bytes()) +
                             4 * static_cast<double>(model.saved_elements(kBatch));
    for (int step = 0; step < 2; ++step) {
      allocator().reset_peak();
      F::cross_entropy(model(images), {.target = labels}).backward();
      optimizer.step();
      optimizer.zero_grad();
    }
    const double peak = static_cast<double>(allocator().stats().peak) - before;
    CAPTURE(peak / predicted);
    REQUIRE(peak <= 1.3 * predicted);
    REQUIRE(peak >= 0.9 * predicted);  // the formulas do not owe their success to counting too much
  }
}
