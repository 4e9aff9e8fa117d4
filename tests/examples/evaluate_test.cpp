#include "examples/support/evaluate.h"

#include "data/bpe_trainer.h"
#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::support;

TEST_CASE("a part of a text is evaluated to the window, whatever the batch") {
  data::TextDataset text;
  text.valid = std::string(161, 'a');
  const data::Tokenizer tokenizer = data::train_bpe("b", 257);  // a token for each byte
  for (const auto& [limit, predictions] : {std::pair<Dim, Dim>{0, 160}, {1, 16}, {3, 48}, {10, 160}, {11, 160}}) {
    CHECK(validation_split(text, tokenizer, 4, 16, limit).windows.predictions() == predictions);
  }
  text.valid.resize(168, 'a');  // ten windows and a half
  CHECK(validation_split(text, tokenizer, 4, 16, 10).windows.predictions() == 160);
  CHECK(validation_split(text, tokenizer, 4, 16, 11).windows.predictions() == 167);
}
