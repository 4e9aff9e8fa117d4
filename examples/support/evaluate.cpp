#include "examples/support/evaluate.h"

#include <algorithm>
#include <cmath>

namespace ashlar::support {

Score evaluate(const Vit& model, const data::ImageEvaluation& images, const EvalProgress& progress) {
  double loss = 0;
  Dim correct = 0, count = 0;
  for (Dim index = 0; index < images.batches(); ++index) {
    if (progress) progress(index, images.batches());
    const data::ImageBatch batch = images.at(index);
    const Tensor logits = model(batch.images);
    loss += F::cross_entropy(logits, {.target = batch.labels}).item() * static_cast<double>(batch.size());
    const auto scores = logits.value().to_vector<float>();
    const auto labels = batch.labels.to_vector<std::int32_t>();
    const auto classes = static_cast<std::ptrdiff_t>(logits.size(1));
    for (std::size_t row = 0; row < labels.size(); ++row) {
      const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(row) * classes;
      correct += std::max_element(begin, begin + classes) - begin == labels[row];
    }
    count += batch.size();
  }
  const auto total = static_cast<double>(count);
  return {.loss = loss / total, .accuracy = static_cast<double>(correct) / total};
}

TextSplit text_split(std::string_view text, const data::Tokenizer& tokenizer, Dim batch, Dim context, Dim limit) {
  auto tokens = tokenizer.encode(text);
  const double words_per_token = static_cast<double>(data::count_words(text).tokens()) /
                                 static_cast<double>(tokens.size() - 1);
  // The first token of all is predicted by none.
  const auto predicted = static_cast<Dim>(tokens.size()) - 1;
  if (limit > 0 && limit <= predicted / context) tokens.resize(static_cast<std::size_t>(limit * context + 1));
  return {data::TokenEvaluation(std::move(tokens), batch, context), words_per_token};
}

Score evaluate(const Gpt2& model, const TextSplit& split, const EvalProgress& progress) {
  double loss = 0;
  Dim predictions = 0;
  for (Dim index = 0; index < split.windows.batches(); ++index) {
    if (progress) progress(index, split.windows.batches());
    const data::TokenBatch batch = split.windows.at(index);
    loss += model.loss(batch.inputs, batch.targets).item() * static_cast<double>(batch.predictions);
    predictions += batch.predictions;
  }
  const double mean = loss / static_cast<double>(predictions);
  return {.loss = mean, .perplexity = std::exp(mean), .word_perplexity = std::exp(mean / split.words_per_token)};
}

std::string describe(const Score& score) {
  std::string text = concat("loss ", score.loss);
  if (score.accuracy) text += concat(", accuracy ", 100 * *score.accuracy, " %");
  if (score.perplexity) text += concat(", perplexity ", *score.perplexity);
  if (score.word_perplexity) text += concat(", per word ", *score.word_perplexity);
  return text;
}

}  // namespace ashlar::support
