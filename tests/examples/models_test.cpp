// The networks of the programs: what they cost, how they begin, and what golden files do not show of them.
#include <algorithm>
#include <cmath>

#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "optim/make_optimizer.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array value_of(const Module& model, const std::string& name) {
  for (const Parameter& p : model.parameters()) {
    if (p.name == name) return p.tensor.value();
  }
  throw Error("no parameter " + name);
}

double largest(const Array& a) {
  double most = 0;
  for (const double value : a.to_vector<double>()) most = std::max(most, std::abs(value));
  return most;
}

double spread(const Array& a) { return norm(a) / std::sqrt(static_cast<double>(a.numel())); }

}  // namespace

TEST_CASE("what a network costs is the sum over its products") {
  VitConfig config{.image = 8, .patch = 4, .width = 16, .depth = 1, .heads = 2};
  config.linear.fc1 = "low_rank:rank=4";
  Vit vit(Scope::root(), config);
  const Dim patch = 48 * 16, qkv = 16 * 48, proj = 16 * 16, fc1 = 4 * (16 + 64), wide = 16 * 64, head = 16 * 10;
  const Dim tokens = 5, attention = 2 * tokens * tokens * 16;
  CHECK(vit.macs_per_sample() == 4 * patch + tokens * (qkv + proj + fc1 + wide) + head + attention);
  CHECK(vit.macs_per_sample(true) == 4 * patch + tokens * (qkv + proj + 2 * wide) + head + attention);
  CHECK(cost_of(vit).linear_parameters == patch + qkv + proj + fc1 + wide + head);
  CHECK(cost_of(vit).dense_linear_parameters == patch + qkv + proj + 2 * wide + head);

  GptConfig small{.vocab = 11, .context = 8, .width = 16, .depth = 1, .heads = 2};
  small.linear.fc1 = "low_rank:rank=4";
  Gpt2 gpt(Scope::root(), small);
  const Dim others = 11 * 16 + 8 * 16;  // the head, and attention to half of the context on average
  CHECK(gpt.macs_per_token() == qkv + proj + fc1 + wide + others);
  CHECK(gpt.macs_per_token(true) == qkv + proj + 2 * wide + others);
}

TEST_CASE("a GPT-2 begins as Radford et al. 2019 have it, at the loss of no knowledge") {
  const GptConfig config{.vocab = 300, .context = 16, .width = 64, .depth = 4, .heads = 2};
  const Gpt2 gpt(Scope::root(), config);
  for (const char* name : {"wte.weight", "h.0.attn.c_attn.weight", "h.3.mlp.c_fc.weight"}) {
    INFO(name);
    CHECK(spread(value_of(gpt, name)) == Approx(0.02).epsilon(0.05));
  }
  for (const char* name : {"h.0.attn.c_proj.weight", "h.3.mlp.c_proj.weight"}) {  // what residual connections add up
    INFO(name);
    CHECK(spread(value_of(gpt, name)) == Approx(0.02 / std::sqrt(8.0)).epsilon(0.05));
  }
  CHECK(all_equal(value_of(gpt, "h.0.attn.c_attn.bias"), 0));
  const Array tokens = random_ids({4, 16}, 300, 1), targets = random_ids({4, 16}, 300, 2);
  CHECK(gpt.loss(tokens, targets).item() == Approx(std::log(300.0)).epsilon(0.02));
}

TEST_CASE("a ViT begins as timm has it: nothing is drawn that is far from zero") {
  const Vit vit(Scope::root(), {.image = 32, .patch = 4, .width = 192, .depth = 1, .heads = 2});
  for (const char* name : {"pos_embed", "cls_token"}) {
    INFO(name);
    const Array drawn = value_of(vit, name);
    CHECK(spread(drawn) == Approx(0.02).epsilon(drawn.numel() > 1000 ? 0.02 : 0.1));
    CHECK(largest(drawn) <= 2.28 * 0.02);  // cut at two of its standard deviations before the cut
  }
}

TEST_CASE("the matrices of the blocks have the optimizer's own update, all else AdamW's") {
  const Vit vit(Scope::root(), {.image = 8, .patch = 4, .width = 16, .depth = 1, .heads = 2});
  const Gpt2 gpt(Scope::root(), {.vocab = 11, .context = 8, .width = 16, .depth = 1, .heads = 2});
  for (const std::string name : {"muon", "soap"}) {
    for (const Module* model : {static_cast<const Module*>(&vit), static_cast<const Module*>(&gpt)}) {
      const std::unique_ptr<const optim::Optimizer> optimizer =
          optim::make_optimizer(model->parameters(), {.name = name, .settings = {{"lr", 0.5}, {"adamw_lr", 0.25}}});
      int own = 0;
      for (const optim::Slot& slot : optimizer->slots()) {
        const std::string& of = slot.parameter.name;
        INFO(name << " " << of);
        const bool in_block = of.starts_with("blocks.") || of.starts_with("h.");
        const bool norm = contains(of, "norm") || contains(of, "ln_");
        CHECK(slot.lr == (in_block && !norm && of.ends_with(".weight") ? 0.5 : 0.25));
        own += slot.lr == 0.5;
      }
      CHECK(own == 4);
    }
  }
}

TEST_CASE("blocks are left out more the deeper they lie") {
  const Array images = randn({64, 3, 8, 8}, DType::f32, 5);
  // Images whose logits are those of a network without the blocks, where the one at `silent` adds nothing anyway.
  const auto left_out = [&](int silent) {
    Vit vit(Scope::root(DType::f32, 1), {.image = 8, .patch = 4, .width = 16, .depth = 2, .heads = 2, .drop_path = 0.9});
    const auto silence = [&](int block) {
      for (const char* last : {"attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias"}) {
        fill(value_of(vit, concat("blocks.", block, ".", last)), 0);
      }
    };
    silence(silent);
    vit.train(3);
    const Array with = vit(images).value();
    silence(1 - silent);
    const Array without = vit(images).value();
    int same = 0;
    for (Dim i = 0; i < images.size(0); ++i) same += bitwise_equal(with.select(0, i), without.select(0, i));
    return same;
  };
  CHECK(left_out(1) == 0);  // the first block is never left out
  const int of_64 = left_out(0);  // the last one in 0.9 of the cases on each of its two branches
  CHECK((of_64 >= 40 && of_64 <= 62));
}

TEST_CASE("sizes that no network can have are refused") {
  const auto vit = [](VitConfig config) { Vit(Scope::root(), config); };
  REQUIRE_THROWS_WITH(vit({.image = 9, .patch = 4}), says("vit: image size 9 must be a multiple of patch 4"));
  REQUIRE_THROWS_WITH(vit({.width = 16, .heads = 3}), says("vit: width 16 must be a multiple of heads 3"));
  REQUIRE_THROWS_WITH(vit({.classes = 0}), says("vit: needs at least one class"));
  REQUIRE_THROWS_WITH(Gpt2(Scope::root(), {.vocab = 0}), says("gpt2: needs a vocabulary"));
  REQUIRE_THROWS_WITH(Gpt2(Scope::root(), {.vocab = 11, .context = 8, .width = 16, .depth = 1, .heads = 3}),
                      says("gpt2: width 16 must be a multiple of heads 3"));
  const Vit small(Scope::root(), {.image = 8, .patch = 4, .width = 16, .depth = 0, .heads = 2});
  REQUIRE_THROWS_WITH(small(randn({1, 3, 8, 4}, DType::f32, 1)), says("(1, 3, 8, 4)"));
}

TEST_CASE("without a class token a ViT's head reads the mean over all patches") {
  const VitConfig config{.image = 8, .patch = 4, .width = 16, .depth = 0, .heads = 2, .class_token = false};
  const Vit vit(Scope::root(), config);
  fill(value_of(vit, "pos_embed"), 0);
  const Array image = randn({1, 3, 8, 8}, DType::f32, 1);
  const Tensor logits = vit(image);
  Array mean = Array::zeros({1, 10});
  for (const Dim row : {0, 4}) {
    for (const Dim column : {0, 4}) {
      // The same patch four times.
      const Array alike = Array::empty({1, 3, 8, 8});
      for (const Dim y : {0, 4}) {
        for (const Dim x : {0, 4}) {
          copy(image.slice(2, row, row + 4).slice(3, column, column + 4), alike.slice(2, y, y + 4).slice(3, x, x + 4));
        }
      }
      mean = (Tensor(mean) + vit(alike) * 0.25).value();
    }
  }
  REQUIRE(relative_error(logits.value(), mean) <= 1e-5);
}
