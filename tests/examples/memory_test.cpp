// What a training step holds in memory, against what the formulas of the layers say.
#include "core/allocator.h"
#include "examples/models/vit.h"
#include "optim/adamw.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// The elements that a training step keeps for backward of `rows` tokens, each array counted once, by the operation that
// reads it. The residual sum x + f(x) keeps nothing; dropout draws its mask again.
struct Kept {
  Dim rows, width, heads, hidden;

  Dim norm() const { return rows * (width + 2); }  // x, the mean and 1/deviation of each row
  Dim attention() const { return rows * (5 * width + heads); }  // x, q k v, their attention with one log-sum-exp a head
  Dim mlp() const { return rows * (width + 2 * hidden); }       // x, before and after GELU
  Dim block() const { return 2 * norm() + attention() + mlp(); }
  // The linear maps of a piece, beyond their inputs.
  Dim maps(Module& piece) const {
    Dim total = 0;
    for (const auto& [path, map] : linear_maps(piece)) total += map->cost(rows).saved_elements;
    return total;
  }
};

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
    const Kept kept{kRows, config.width, config.heads, config.hidden};
    check(kept.norm(), LayerNorm(root, kWidth, 1e-6));
    MultiHeadAttention attention(root, config);
    check(kept.attention() + kept.maps(attention), attention);
    Mlp mlp(root, config);
    check(kept.mlp() + kept.maps(mlp), mlp);
    Block block(root, config);
    check(kept.block() + kept.maps(block), block);
  }
}

TEST_CASE("each structured map keeps what its cost says") {
  constexpr Dim kRows = 1024, kWidth = 192;
  const Tensor x = Tensor::leaf(randn({kRows, kWidth}, DType::f32, 1));
  for (const char* spec : {"dense", "low_rank:rank=32", "monarch:blocks=4", "blast:blocks=3,rank=32", "ss1:reduction=4",
                           "ss1:reduction=2,classes=4", "block_diagonal:blocks=4", "block_diagonal:blocks=4,shuffle=1"}) {
    INFO(spec);
    const Linear map(Scope::root(DType::f32, 1), kWidth, 2 * kWidth, spec);
    const double ratio = held_over_predicted(x, kRows * kWidth + map.map().cost(kRows).saved_elements, map);
    CHECK(ratio >= 0.99);
    CHECK(ratio <= 1.03);
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
    const Kept kept{kBatch * model.tokens(), config.width, config.heads, 4 * config.width};
    const Dim pixels = config.channels * config.image * config.image;
    // Read by patch_embed, the blocks, the norm, the head and the loss.
    const Dim activations = kBatch * pixels + config.depth * kept.block() + kept.maps(model) + kept.norm() +
                            kBatch * (config.width + config.classes);
    // Weights, their gradients, the optimizer's state, the activations.
    const double predicted =
        2 * weights + static_cast<double>(optimizer.state_bytes()) + 4 * static_cast<double>(activations);
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
