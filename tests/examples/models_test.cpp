// The networks of the programs: what they cost, how they begin, and what golden files do not show of them.
#include <cmath>

#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array value_of(const Module& model, const std::string& name) {
  for (const Parameter& p : model.parameters()) {
    if (p.name == name) return p.tensor.value();
  }
  throw Error("no parameter " + name);
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
