// Text in its splits, and the word counts that make perplexities of different tokenizers comparable.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace ashlar::data {

struct TextDataset {
  std::string train, valid;
  std::string description;  // "WikiText in data/wikitext-2", and how much of it is no UTF-8
  std::string test = {};    // empty where there is none
};

// Reads the folder `path`, or the one folder in it that is recognised: files wiki.{train,valid,test} ending in .tokens or
// .raw, otherwise files ending in .txt with train or valid in the name, or test where a word of it begins; the test split
// may be missing. Of a training text beside a test, of the one .txt that is all there is, or of `path` itself if it is one,
// the last tenth is for validation. InputError that says what was looked for, or which file is missing, empty, too short or
// ambiguous, otherwise.
TextDataset load_text(const std::filesystem::path& path);

// The project's own sources and documentation, compiled into the program: of every ten blocks of lines nine
// are for training, one for validation.
TextDataset embedded_text();

struct WordCount {
  Dim words = 0;  // separated by ASCII whitespace, as wc counts them: <|endoftext|> on a line of its own is one too
  Dim lines = 0;  // the last one needs no newline
  // What WikiText perplexities are averaged over: the words and one <eos> a line (Merity et al. 2016).
  Dim tokens() const { return words + lines; }
};
WordCount count_words(std::string_view text);

}  // namespace ashlar::data
