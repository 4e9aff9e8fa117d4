#include "data/token_loader.h"

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

// Token i is i, so that a batch shows where it comes from.
std::vector<TokenId> numbered(Dim count) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

bool same_batch(const TokenBatch& a, const TokenBatch& b) {
  return a.inputs.to_vector<std::int32_t>() == b.inputs.to_vector<std::int32_t>() &&
         a.targets.to_vector<std::int32_t>() == b.targets.to_vector<std::int32_t>() &&
         a.predictions == b.predictions;
}

struct Sizes {
  Dim tokens, batch, context;
};

}  // namespace

TEST_CASE("an_epoch_predicts_every_token_once", "[data]") {
  for (const Sizes s : {Sizes{101, 3, 8}, {97, 4, 16}, {65, 5, 16}, {2, 1, 4}, {7, 2, 1}, {30, 1, 64}}) {
    const TokenLoader loader(numbered(s.tokens), s.batch, s.context, 9);
    const Dim windows = (s.tokens - 1 + s.context - 1) / s.context;
    REQUIRE(std::abs(loader.steps_per_epoch() * static_cast<double>(s.batch) - static_cast<double>(windows)) <= 1e-9);
    std::vector<std::map<std::int32_t, int>> predicted(3);  // of each epoch: target, times
    for (std::int64_t step = 0; step * s.batch < 3 * windows; ++step) {
      const TokenBatch batch = loader.at(step);
      REQUIRE(batch.inputs.shape() == Shape({s.batch, s.context}));
      const auto* input = batch.inputs.data<std::int32_t>();
      const auto* target = batch.targets.data<std::int32_t>();
      Dim count = 0;
      for (Dim b = 0; b < s.batch; ++b) {
        const Dim epoch = (step * s.batch + b) / windows;
        REQUIRE(target[b * s.context] >= 0);  // no row is empty
        for (Dim t = 0; t < s.context; ++t) {
          const Dim i = b * s.context + t;
          if (t > 0) REQUIRE(input[i] == (input[i - 1] + 1) % (s.tokens - 1));
          if (target[i] < 0) continue;
          ++count;
          REQUIRE(target[i] == input[i] + 1);
          if (epoch < 3) ++predicted[static_cast<std::size_t>(epoch)][target[i]];
        }
      }
      REQUIRE(batch.predictions == count);
    }
    for (const auto& epoch : predicted) {
      REQUIRE(static_cast<Dim>(epoch.size()) == s.tokens - 1);
      for (const auto& [target, times] : epoch) REQUIRE(times == 1);
    }
  }
}

TEST_CASE("epochs_begin_at_other_tokens_and_shuffle_their_windows", "[data]") {
  const TokenLoader loader(numbered(1001), 1, 10, 4);
  std::set<std::int32_t> offsets;
  for (std::int64_t epoch = 0; epoch < 10; ++epoch) {
    int in_order = 0;
    std::int32_t before = -1;
    for (Dim w = 0; w < 100; ++w) {
      const std::int32_t first = loader.at(epoch * 100 + w).inputs.data<std::int32_t>()[0];
      if (w == 0) offsets.insert(first % 10);
      in_order += first == (before + 10) % 1000;
      before = first;
    }
    REQUIRE(in_order < 10);
  }
  REQUIRE(offsets.size() >= 4);
  REQUIRE(std::abs(250 / loader.steps_per_epoch() - 2.5) <= 1e-12);
}

TEST_CASE("token_batches_are_a_pure_function_of_seed_and_step", "[data]") {
  const TokenLoader loader(numbered(503), 4, 7, 21);
  const TokenBatch batch = loader.at(77);
  loader.at(3);
  REQUIRE(same_batch(batch, loader.at(77)));
  REQUIRE(same_batch(batch, TokenLoader(numbered(503), 4, 7, 21).at(77)));
  REQUIRE(!same_batch(batch, TokenLoader(numbered(503), 4, 7, 22).at(77)));
  REQUIRE(!same_batch(batch, loader.at(78)));
}

TEST_CASE("evaluation_predicts_every_token_once_in_order", "[data]") {
  for (const Sizes s : {Sizes{101, 3, 8}, {49, 2, 8}, {50, 2, 8}, {2, 2, 8}, {18, 1, 1}}) {
    const TokenEvaluation evaluation(numbered(s.tokens), s.batch, s.context);
    std::int32_t next = 1;
    Dim predictions = 0;
    for (std::int64_t i = 0; i < evaluation.batches(); ++i) {
      const TokenBatch batch = evaluation.at(i);
      REQUIRE(batch.targets.shape() == Shape({s.batch, s.context}));
      REQUIRE(batch.predictions >= 1);
      predictions += batch.predictions;
      for (Dim j = 0; j < s.batch * s.context; ++j) {
        const std::int32_t target = batch.targets.data<std::int32_t>()[j];
        if (j >= batch.predictions) {
          REQUIRE(target == -1);
          continue;
        }
        REQUIRE(target == next++);
        REQUIRE(batch.inputs.data<std::int32_t>()[j] == target - 1);
      }
    }
    REQUIRE(predictions == s.tokens - 1);
    REQUIRE(evaluation.predictions() == s.tokens - 1);
    REQUIRE(contains(error_of([&] { evaluation.at(evaluation.batches()); }), "evaluation batch"));
  }
}

TEST_CASE("token_loaders_refuse_nonsense", "[data]") {
  REQUIRE(contains(error_of([] { TokenLoader({5}, 1, 4, 0); }), "at least 2 tokens"));
  REQUIRE(contains(error_of([] { TokenLoader({5}, 1, 4, 0); }), "the split for training"));
  REQUIRE(contains(error_of([] { TokenEvaluation({}, 1, 4); }), "the split for evaluation needs at least 2 tokens"));
  REQUIRE(contains(error_of([] { TokenLoader({5, 6}, 0, 4, 0); }), "batch and context"));
  REQUIRE(contains(error_of([] { TokenEvaluation({5, 6}, 1, 0); }), "batch and context"));
  REQUIRE(contains(error_of([] { TokenLoader({5, 6}, 1, 4, 0).at(-1); }), "step"));
}

}  // namespace ashlar::data
