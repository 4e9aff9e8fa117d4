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

// `split` is the name of the images.
EvalEvent evaluate(const Vit& model, const std::string& split, const data::ImageEvaluation& images, std::int64_t step,
                   const EvalProgress& progress = {});

// What the perplexity of a split is averaged over.
struct TextSplit {
  std::string name;
  data::TokenEvaluation windows;
  double words_per_token;
};
// Text in windows of `context` tokens; the first `limit` windows of it, or all for 0.
TextSplit text_split(std::string name, std::string_view text, const data::Tokenizer& tokenizer, Dim batch, Dim context,
                     Dim limit = 0);
EvalEvent evaluate(const Gpt2& model, const TextSplit& split, std::int64_t step, const EvalProgress& progress = {});

// "test loss 1.2, accuracy 60 %"
std::string describe(const EvalEvent& event);

}  // namespace ashlar::support
