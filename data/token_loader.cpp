#include "data/token_loader.h"

#include <algorithm>
#include <utility>

#include "core/random.h"
#include "core/rounding.h"
#include "data/permutation.h"

namespace ashlar::data {
namespace {

void check_sizes(const char* purpose, const std::vector<TokenId>& tokens, Dim batch, Dim context) {
  ASHLAR_CHECK(tokens.size() >= 2, "text: the split for ", purpose,
               " needs at least 2 tokens to predict one from another, got ", tokens.size());
  ASHLAR_CHECK(batch >= 1 && context >= 1, "text: batch and context must be at least 1, got ", batch, " and ",
               context);
}

TokenBatch empty_batch(Dim batch, Dim context) {
  return {Array::zeros({batch, context}, DType::i32), Array::full({batch, context}, -1, DType::i32), 0};
}

}  // namespace

TokenLoader::TokenLoader(std::vector<TokenId> tokens, Dim batch, Dim context, std::uint64_t seed)
    : tokens_(std::move(tokens)),
      batch_(batch),
      context_(context),
      windows_(0),
      key_(key_of(seed, "data/windows")) {
  check_sizes("training", tokens_, batch_, context_);
  windows_ = ceil_div(static_cast<Dim>(tokens_.size()) - 1, context_);
}

TokenBatch TokenLoader::at(std::int64_t step) const {
  ASHLAR_CHECK(step >= 0, "text: step must not be negative, got ", step);
  TokenBatch batch = empty_batch(batch_, context_);
  auto* inputs = batch.inputs.data<std::int32_t>();
  auto* targets = batch.targets.data<std::int32_t>();
  const auto predictions = static_cast<Dim>(tokens_.size()) - 1;
  for (Dim b = 0; b < batch_; ++b) {
    const std::int64_t position = step * batch_ + b;  // in the endless stream of windows
    const auto epoch = static_cast<std::uint64_t>(position / windows_);
    const auto turn = static_cast<std::uint64_t>(position % windows_);
    const Permutation order(static_cast<std::uint64_t>(windows_), key_, epoch);
    const auto window = static_cast<Dim>(order(turn));
    // A number in [0, predictions) from 64 random bits: texts may have more than 2^32 tokens.
    const Random random(key_, epoch);
    const std::uint64_t word = std::uint64_t{random.bits(0)} << 32 | random.bits(1);
    const auto offset = static_cast<Dim>(word % static_cast<std::uint64_t>(predictions));
    const Dim count = std::min(context_, predictions - window * context_);
    for (Dim t = 0; t < context_; ++t) {
      const auto from = static_cast<std::size_t>((offset + window * context_ + t) % predictions);
      inputs[b * context_ + t] = tokens_[from];
      if (t < count) targets[b * context_ + t] = tokens_[from + 1];
    }
    batch.predictions += count;
  }
  return batch;
}

TokenEvaluation::TokenEvaluation(std::vector<TokenId> tokens, Dim batch, Dim context)
    : tokens_(std::move(tokens)), batch_(batch), context_(context) {
  check_sizes("evaluation", tokens_, batch_, context_);
}

Dim TokenEvaluation::batches() const { return ceil_div(predictions(), batch_ * context_); }

TokenBatch TokenEvaluation::at(std::int64_t index) const {
  ASHLAR_CHECK(index >= 0 && index < batches(), "text: evaluation batch ", index, " of ", batches());
  TokenBatch batch = empty_batch(batch_, context_);
  const Dim begin = index * batch_ * context_;
  batch.predictions = std::min(batch_ * context_, predictions() - begin);
  // Rows follow one another in the text, so the batch is one run of tokens.
  std::copy_n(tokens_.data() + begin, batch.predictions, batch.inputs.data<std::int32_t>());
  std::copy_n(tokens_.data() + begin + 1, batch.predictions, batch.targets.data<std::int32_t>());
  return batch;
}

}  // namespace ashlar::data
