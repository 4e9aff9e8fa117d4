// Accuracy of a ViT and perplexity of a GPT-2 on the held-out split. Call under NoGrad, with the model in eval mode.
#pragma once
#include "data/image_loader.h"
#include "data/text.h"
#include "data/token_loader.h"
#include "data/tokenizer.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "examples/support/metrics.h"

namespace ashlar::support {

Score evaluate(const Vit& model, const data::ImageEvaluation& images, const EvalProgress& progress = {});

// What the perplexity of a split is averaged over.
struct TextSplit {
  data::TokenEvaluation windows;
  double words_per_token;
};
// Text in windows of `context` tokens; the first `limit` windows of it, or all for 0. Words a token are those of the whole text.
TextSplit text_split(std::string_view text, const data::Tokenizer& tokenizer, Dim batch, Dim context, Dim limit = 0);
Score evaluate(const Gpt2& model, const TextSplit& split, const EvalProgress& progress = {});

// "loss 1.2, accuracy 60 %"
std::string describe(const Score& score);

}  // namespace ashlar::support
