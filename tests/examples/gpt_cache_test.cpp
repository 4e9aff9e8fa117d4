// Generating with the keys and values of what has been seen, against computing all of it again.
#include "examples/models/gpt2.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kContext = 24, kVocab = 61;

GptConfig config_of(const std::string& spec) {
  return {.vocab = kVocab, .context = kContext, .width = 32, .depth = 2, .heads = 4, .linear = {spec, spec, spec, spec}};
}

Array random_tokens(Dim batch, Dim count) { return random_ids({batch, count}, kVocab, 5); }

}  // namespace

TEST_CASE("logits with a cache are those without, however the tokens come") {
  const NoGrad no_grad;
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-12}, {DType::f32, 1e-5}, {DType::bf16, 2e-2}}) {
    for (const char* spec : {"dense", "blast:blocks=2,rank=8"}) {
      const Gpt2 model(Scope::root(dtype, 3), config_of(spec));
      for (const Dim batch : {1, 3}) {
        const Array tokens = random_tokens(batch, kContext);
        // Tokens of each call; the last one fills the context.
        for (const std::vector<Dim>& parts : {std::vector<Dim>{24}, {1, 1, 1, 1}, {7, 1, 1, 5, 10}, {23, 1}}) {
          GptCache cache = model.make_cache(batch);
          for (const Dim count : parts) {
            const Dim end = cache.length + count;
            INFO(dtype << " " << spec << " batch " << batch << " tokens " << cache.length << " … " << end);
            const Tensor got = model.next_token_logits(tokens.slice(1, cache.length, end), cache);
            const Tensor expected = model.next_token_logits(tokens.slice(1, 0, end));
            REQUIRE(cache.length == end);
            REQUIRE(got.dtype() == expected.dtype());
            REQUIRE(relative_error(got.value(), expected.value()) <= tolerance);
          }
        }
      }
    }
  }
}

TEST_CASE("a frozen model gives the logits of one that is not, in the same dtype") {
  const NoGrad no_grad;
  for (const char* spec : {"dense", "blast:blocks=2,rank=8"}) {
    Gpt2 model(Scope::root(DType::bf16, 3), config_of(spec));
    const Array tokens = random_tokens(2, kContext);
    const Array expected = model.next_token_logits(tokens).value();
    model.freeze();
    const Array got = model.next_token_logits(tokens).value();
    CHECK(got.dtype() == DType::f32);
    CHECK(relative_error(got, expected) <= 1e-2);
  }
}

TEST_CASE("the likeliest tokens are the same with a cache") {
  const NoGrad no_grad;
  const Gpt2 model(Scope::root(DType::f32, 4), config_of("dense"));
  const auto generate = [&](GptCache* cache) {
    std::vector<std::int32_t> ids{3, 1, 4};
    while (static_cast<Dim>(ids.size()) < kContext) {
      const std::vector<std::int32_t> unseen(ids.begin() + (cache ? cache->length : 0), ids.end());
      const Array tokens = Array::from(unseen, {1, static_cast<Dim>(unseen.size())});
      const auto logits = (cache ? model.next_token_logits(tokens, *cache) : model.next_token_logits(tokens)).value().to_vector<float>();
      ids.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
    }
    return ids;
  };
  GptCache cache = model.make_cache(1);
  CHECK(generate(&cache) == generate(nullptr));
}

TEST_CASE("a cache refuses what it has no room for, and what cannot go on from one") {
  const Gpt2 model(Scope::root(DType::f32, 3), config_of("dense"));
  GptCache cache = model.make_cache(2);
  {
    const NoGrad no_grad;
    model.next_token_logits(random_tokens(2, 20), cache);
    CHECK_THROWS_WITH(model.next_token_logits(random_tokens(2, 5), cache),
                      "gpt2: tokens (2, 5) must be (B, T) with T at most the context 24 less the 20 that the cache has seen");
    CHECK_THROWS_WITH(model.next_token_logits(random_tokens(1, 1), cache),
                      "cached_attention: keys (2, 4, 21, 8) and values (2, 4, 21, 8) must be (B, H, K, D) with K at least T "
                      "for q (1, 4, 1, 8)");
    CHECK(cache.length == 20);
    model.next_token_logits(random_tokens(2, 4), cache);
    CHECK(cache.length == 24);
  }
  GptCache recording = model.make_cache(1);
  CHECK_THROWS_WITH(model.next_token_logits(random_tokens(1, 1), recording),
                    "cached_attention: has no backward, and an input requires a gradient; call it under NoGrad or detach() "
                    "the input if that is meant");

  const MultiHeadAttention both_ways(Scope::root(), {.width = 8, .heads = 2});
  const F::KeysValues kept{Array::empty({1, 2, 3, 4}), Array::empty({1, 2, 3, 4})};
  CHECK_THROWS_WITH(both_ways(Tensor(Array::zeros({1, 1, 8})), kept),
                    "attention : only causal attention can go on from a cache");
}
