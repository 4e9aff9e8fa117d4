// Batches of token windows for training and evaluation of language models.
#pragma once
#include <vector>

#include "core/array.h"
#include "data/tokenizer.h"

namespace ashlar::data {

struct TokenBatch {
  Array inputs;         // (B, T) i32
  Array targets;        // (B, T) i32: the token after each input; −1 where there is nothing to predict
  Dim predictions = 0;  // targets that are not −1
};

// The training stream. A text of N tokens has N − 1 predictions (token i + 1 from token i and those before
// it). An epoch cuts them into ceil((N − 1) / T) windows, beginning at a random prediction and going round,
// and visits the windows in random order: each prediction exactly once; one window of the epoch is filled up
// with targets −1. at(step) is a pure function of (seed, step); a batch may hold the end of one epoch and the
// beginning of the next.
class TokenLoader {
 public:
  TokenLoader(std::vector<TokenId> tokens, Dim batch, Dim context, std::uint64_t seed);

  TokenBatch at(std::int64_t step) const;

  double steps_per_epoch() const { return static_cast<double>(windows_) / static_cast<double>(batch_); }

 private:
  std::vector<TokenId> tokens_;
  Dim batch_, context_, windows_;
  std::uint64_t key_;
};

// A text once through: consecutive windows that predict every token but the first exactly once. All batches
// have the same shape; the last one is filled up with targets −1.
class TokenEvaluation {
 public:
  TokenEvaluation(std::vector<TokenId> tokens, Dim batch, Dim context);

  Dim batches() const;
  Dim predictions() const { return static_cast<Dim>(tokens_.size()) - 1; }  // of all batches together
  TokenBatch at(std::int64_t index) const;                                  // of batches()

 private:
  std::vector<TokenId> tokens_;
  Dim batch_, context_;
};

}  // namespace ashlar::data
