// What the evaluations say, against the same figures computed in another way.
#include "examples/support/evaluate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "data/bpe_trainer.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::support;

TEST_CASE("a part of a text is evaluated to the window, whatever the batch") {
  data::TextDataset text;
  text.valid = std::string(161, 'a');
  const data::Tokenizer tokenizer = data::train_bpe("b", 257);  // a token for each byte
  for (const auto& [limit, predictions] : {std::pair<Dim, Dim>{0, 160}, {1, 16}, {3, 48}, {10, 160}, {11, 160}}) {
    CHECK(text_split(text.valid, tokenizer, 4, 16, limit).windows.predictions() == predictions);
  }
  text.valid.resize(168, 'a');  // ten windows and a half
  CHECK(text_split(text.valid, tokenizer, 4, 16, 10).windows.predictions() == 160);
  CHECK(text_split(text.valid, tokenizer, 4, 16, 11).windows.predictions() == 167);
}

TEST_CASE("accuracy and loss of images are those over all of them, though the last batch is smaller") {
  const NoGrad no_grad;
  Vit model(Scope::root(DType::f32, 1), {.image = 4, .patch = 2, .classes = 3, .width = 8, .depth = 1, .heads = 2});
  model.eval();
  data::ImageSplit split;
  const std::vector<std::uint8_t> pixels = [] {
    std::vector<std::uint8_t> values;
    for (std::uint32_t i = 0; i < 7 * 3 * 4 * 4; ++i) values.push_back(static_cast<std::uint8_t>((i * 2654435761U) >> 24));
    return values;
  }();
  split.images = Array::from(pixels, {7, 3, 4, 4});
  split.labels = Array::from(std::vector<std::int32_t>(7, 0), {7});
  const data::Normalisation normalisation = data::channel_statistics(split);
  const auto logits = model(data::ImageEvaluation(split, 7, normalisation).at(0).images).value().to_vector<double>();

  // The best class of three images, the worst of the others.
  double loss = 0;
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < 7; ++i) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(3 * i);
    const auto label = i % 2 == 1 ? std::max_element(begin, begin + 3) - begin : std::min_element(begin, begin + 3) - begin;
    labels.push_back(static_cast<std::int32_t>(label));
    loss += std::log(std::exp(begin[0]) + std::exp(begin[1]) + std::exp(begin[2])) - begin[label];
  }
  split.labels = Array::from(labels, {7});
  std::vector<Dim> told;
  const Score score = evaluate(model, data::ImageEvaluation(split, 4, normalisation), [&](Dim done, Dim count) {
    told.insert(told.end(), {done, count});
  });
  CHECK(told == std::vector<Dim>{0, 2, 1, 2});
  CHECK((!score.perplexity && !score.word_perplexity));
  CHECK(*score.accuracy == Approx(3. / 7));
  CHECK(score.loss == Approx(loss / 7).epsilon(1e-6));
}

TEST_CASE("perplexity is over all tokens but the first, word perplexity over words and line ends") {
  const NoGrad no_grad;
  data::TextDataset text;
  text.valid = "one two three\nfour five\nsix seven eight nine\n";
  const double words = 9 + 3;
  const data::Tokenizer tokenizer = data::train_bpe(text.valid, 262);
  const std::vector<data::TokenId> tokens = tokenizer.encode(text.valid);
  const auto count = static_cast<Dim>(tokens.size()) - 1;
  constexpr Dim kContext = 5;
  REQUIRE(count % kContext != 0);
  Gpt2 model(Scope::root(DType::f32, 1), {.vocab = tokenizer.vocab_size(), .context = kContext, .width = 8, .depth = 1, .heads = 2});
  model.eval();

  double loss = 0;
  for (Dim i = 0; i < count; ++i) {
    // From the beginning of its window.
    const Dim begin = i / kContext * kContext;
    const std::vector<std::int32_t> seen(tokens.begin() + begin, tokens.begin() + i + 1);
    const auto logits = model.next_token_logits(Tensor(Array::from(seen, {1, i + 1 - begin}))).value().to_vector<double>();
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit);
    loss += std::log(sum) - logits[static_cast<std::size_t>(tokens[static_cast<std::size_t>(i) + 1])];
  }
  Dim told = 0, batches = 0;
  const Score score = evaluate(model, text_split(text.valid, tokenizer, 3, kContext), [&](Dim done, Dim of) {
    CHECK(done == told++);
    batches = of;
  });
  CHECK((told > 0 && told == batches));
  CHECK(!score.accuracy);
  CHECK(score.loss == Approx(loss / static_cast<double>(count)).epsilon(1e-6));
  CHECK(*score.perplexity == Approx(std::exp(loss / static_cast<double>(count))).epsilon(1e-5));
  CHECK(*score.word_perplexity == Approx(std::exp(loss / words)).epsilon(1e-5));
}
