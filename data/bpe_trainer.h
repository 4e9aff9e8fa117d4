// Learning a byte-level BPE vocabulary from text.
#pragma once
#include <string_view>

#include "data/tokenizer.h"

namespace ashlar::data {

// A vocabulary of `vocab_size` tokens: the 256 bytes, merges, and <|endoftext|> as the last id. Each merge
// joins the pair of neighbouring tokens that is most frequent in the pieces of `text`; among equals the pair
// of the smallest ids. <|endoftext|> in `text` ends one text and begins another; nothing is learned from its
// letters. Pieces of more than 1,024 bytes, which are no words, are learned from in parts of that length. Stops
// early, with a smaller vocabulary, when no pair occurs twice. The result does not depend on the number of threads.
Tokenizer train_bpe(std::string_view text, Dim vocab_size);

}  // namespace ashlar::data
