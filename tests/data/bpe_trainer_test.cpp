#include "data/bpe_trainer.h"

#include <map>

#include "core/parallel.h"
#include "core/random.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"
#include "data/text.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

// Counts all pairs anew for every merge; returns the tokens in the order of their ids.
std::vector<std::string> train_naively(std::string_view text, std::size_t vocab_size) {
  std::vector<std::string> tokens;
  std::map<std::string, TokenId> id_of;
  for (const std::uint8_t byte : byte_order()) {
    id_of[std::string(1, static_cast<char>(byte))] = static_cast<TokenId>(tokens.size());
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<std::vector<TokenId>> pieces;
  for (const std::string_view piece : pretokenize(text)) {
    pieces.emplace_back();
    for (const char byte : piece) pieces.back().push_back(id_of[std::string(1, byte)]);
  }
  while (tokens.size() + 1 < vocab_size) {
    std::map<std::pair<TokenId, TokenId>, int> counts;
    for (const auto& piece : pieces)
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) ++counts[{piece[i], piece[i + 1]}];
    std::pair<TokenId, TokenId> best;
    int most = 1;
    for (const auto& [pair, count] : counts) {  // the smallest pair comes first
      if (count > most) {
        most = count;
        best = pair;
      }
    }
    if (most < 2) break;
    const std::string bytes =
        tokens[static_cast<std::size_t>(best.first)] + tokens[static_cast<std::size_t>(best.second)];
    if (id_of.emplace(bytes, static_cast<TokenId>(tokens.size())).second) tokens.push_back(bytes);
    for (auto& piece : pieces) {
      std::vector<TokenId> merged;
      for (std::size_t i = 0; i < piece.size(); ++i) {
        if (i + 1 < piece.size() && piece[i] == best.first && piece[i + 1] == best.second) {
          merged.push_back(id_of[bytes]);
          ++i;
        } else {
          merged.push_back(piece[i]);
        }
      }
      piece = merged;
    }
  }
  tokens.emplace_back("<|endoftext|>");
  return tokens;
}

std::vector<std::string> tokens_of(const Tokenizer& tokenizer) {
  std::vector<std::string> tokens;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) tokens.push_back(tokenizer.token(id));
  return tokens;
}

}  // namespace

TEST_CASE("bpe_training_merges_what_counting_anew_merges", "[data]") {
  const std::string text =
      embedded_text().valid.substr(0, 6000) + " aaaa aaaaa aaaaaaa banana bananas ananas \xff\xff\xff";
  REQUIRE(tokens_of(train_bpe(text, 500)) == train_naively(text, 500));
  // Until nothing occurs twice.
  const std::string small = "abcabc abc bcd abcd aaaaaaaa aaaaaaaa abab abab";
  const Tokenizer tokenizer = train_bpe(small, 5000);
  REQUIRE(tokens_of(tokenizer) == train_naively(small, 5000));
  REQUIRE(tokenizer.vocab_size() < 300);
  REQUIRE(tokenizer.decode(tokenizer.encode(small)) == small);
}

TEST_CASE("bpe_training_takes_time_by_the_length_of_the_text_not_of_its_words", "[data]") {
  // One line of random letters without a space, of which every merge would have to read all.
  const Random random(1);
  std::string letters(1 << 20, ' ');
  for (std::size_t i = 0; i < letters.size(); ++i) letters[i] = static_cast<char>('a' + random.below(i, 26));
  const Tokenizer tokenizer = train_bpe(letters, 8192);
  REQUIRE(tokenizer.vocab_size() == 8192);
  REQUIRE(tokenizer.encode(letters).size() * 2 < letters.size());
  // Cut where the header says: the parts alone give the same.
  std::string parts;
  for (std::size_t begin = 0; begin < letters.size(); begin += 1024) parts += letters.substr(begin, 1024) + "\n";
  REQUIRE(tokens_of(train_bpe(parts, 600)) == tokens_of(train_bpe(letters, 600)));
}

TEST_CASE("bpe_training_does_not_depend_on_the_number_of_threads", "[data]") {
  std::string text;
  const TextDataset data = embedded_text();
  while (text.size() < 2500000) text += data.train + std::to_string(text.size());
  const int threads = num_threads();
  set_num_threads(1);
  const auto one = tokens_of(train_bpe(text, 700));
  set_num_threads(2);
  const auto two = tokens_of(train_bpe(text, 700));
  set_num_threads(threads);
  REQUIRE(one == two);
  REQUIRE(one.size() == 700);
}

TEST_CASE("trained_tokenizers_survive_saving_and_encode_with_their_merges", "[data]") {
  const TextDataset data = embedded_text();
  const Tokenizer tokenizer = train_bpe(data.train, 1000);
  REQUIRE(tokenizer.vocab_size() == 1000);
  REQUIRE(tokenizer.end_of_text() == TokenId{999});
  TemporaryFolder folder;
  tokenizer.save(folder.path());
  const auto ids = tokenizer.encode(data.test);
  REQUIRE(Tokenizer::load(folder.path()).encode(data.test) == ids);
  REQUIRE(tokenizer.decode(ids) == data.test);
  REQUIRE(ids.size() * 2 < data.test.size());
}

TEST_CASE("bpe_training_refuses_nonsense", "[data]") {
  REQUIRE(contains(error_of([] { train_bpe("abc", 256); }), "at least 257"));
  REQUIRE(contains(error_of([] { train_bpe("", 300); }), "no text"));
  REQUIRE(train_bpe("abc", 257).vocab_size() == 257);
}

}  // namespace ashlar::data
