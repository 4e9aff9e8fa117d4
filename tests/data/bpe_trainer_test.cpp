#include "data/bpe_trainer.h"

#include <map>

#include "core/files.h"
#include "core/parallel.h"
#include "core/random.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"
#include "data/text.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<TokenPair> merges;
  std::string joined(TokenPair pair) const {
    return tokens[static_cast<std::size_t>(pair.left)] + tokens[static_cast<std::size_t>(pair.right)];
  }
};

// Counts all pairs anew for every merge.
Vocabulary train_naively(std::string_view text, std::size_t vocab_size) {
  Vocabulary result;
  std::map<char, TokenId> id_of;
  for (const std::uint8_t byte : byte_order()) {
    id_of[static_cast<char>(byte)] = static_cast<TokenId>(result.tokens.size());
    result.tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<std::vector<TokenId>> pieces;
  for (const std::string_view piece : pretokenize(text, kEndOfText)) {
    if (piece == kEndOfText) continue;
    pieces.emplace_back();
    for (const char byte : piece) pieces.back().push_back(id_of[byte]);
  }
  while (result.tokens.size() + 1 < vocab_size) {
    std::map<TokenPair, int> counts;
    for (const auto& piece : pieces)
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) ++counts[{piece[i], piece[i + 1]}];
    TokenPair best{};
    int most = 1;
    for (const auto& [pair, count] : counts) {  // the smallest pair comes first
      if (count > most) {
        most = count;
        best = pair;
      }
    }
    if (most < 2) break;
    for (auto& piece : pieces) {
      std::vector<TokenId> merged;
      for (std::size_t i = 0; i < piece.size(); ++i) {
        if (i + 1 < piece.size() && TokenPair{piece[i], piece[i + 1]} == best) {
          merged.push_back(static_cast<TokenId>(result.tokens.size()));
          ++i;
        } else {
          merged.push_back(piece[i]);
        }
      }
      piece = merged;
    }
    result.merges.push_back(best);
    result.tokens.push_back(result.joined(best));
  }
  result.tokens.emplace_back("<|endoftext|>");
  return result;
}

// Looks through the whole piece for every merge: the lowest that applies, where it applies first.
std::vector<TokenId> encode_naively(const Vocabulary& vocabulary, std::string_view text) {
  std::map<std::string, TokenId> id_of;
  for (const std::string& token : vocabulary.tokens) id_of.emplace(token, static_cast<TokenId>(id_of.size()));
  std::map<TokenPair, std::size_t> rank_of;
  for (const TokenPair pair : vocabulary.merges) rank_of.emplace(pair, rank_of.size());
  std::vector<TokenId> result;
  for (const std::string_view piece : pretokenize(text, kEndOfText)) {
    if (piece == kEndOfText) {
      result.push_back(id_of.at(std::string(piece)));
      continue;
    }
    std::vector<TokenId> ids;
    for (const char byte : piece) ids.push_back(id_of.at(std::string(1, byte)));
    while (true) {
      std::size_t lowest = vocabulary.merges.size(), place = 0;
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto found = rank_of.find({ids[i], ids[i + 1]});
        if (found == rank_of.end() || found->second >= lowest) continue;
        lowest = found->second;
        place = i;
      }
      if (lowest == vocabulary.merges.size()) break;
      ids[place] = id_of.at(vocabulary.joined(vocabulary.merges[lowest]));
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
    result.insert(result.end(), ids.begin(), ids.end());
  }
  return result;
}

// Tokens and merges in their order.
std::string files_of(const Tokenizer& tokenizer) {
  TemporaryFolder folder;
  tokenizer.save(folder.path());
  return read_file(folder / "vocab.json") + read_file(folder / "merges.txt");
}
std::string files_of(const Vocabulary& vocabulary) { return files_of(Tokenizer(vocabulary.tokens, vocabulary.merges)); }

}  // namespace

TEST_CASE("bpe_training_merges_what_counting_anew_merges", "[data]") {
  const std::string text =
      embedded_text().valid.substr(0, 6000) + " aaaa aaaaa aaaaaaa banana bananas ananas \xff\xff\xff";
  REQUIRE((files_of(train_bpe(text, 500)) == files_of(train_naively(text, 500))));
  // Until nothing occurs twice.
  const std::string small = "abcabc abc bcd abcd aaaaaaaa aaaaaaaa abab abab";
  const Tokenizer tokenizer = train_bpe(small, 5000);
  REQUIRE((files_of(tokenizer) == files_of(train_naively(small, 5000))));
  REQUIRE(tokenizer.vocab_size() < 300);
  REQUIRE(tokenizer.decode(tokenizer.encode(small)) == small);
}

TEST_CASE("bpe_training_learns_nothing_from_the_ends_of_texts", "[data]") {
  const auto texts = [](const std::string& end) { return "(banana, bandana)" + end + "(cabana)" + end + end + "ananas, (an)" + end; };
  const std::string end(kEndOfText);
  // A newline between words is a piece of one byte, of which nothing is learned either.
  REQUIRE((files_of(train_bpe(texts(end), 400)) == files_of(train_bpe(texts("\n"), 400))));
  REQUIRE(train_bpe(end + end + end, 400).vocab_size() == 257);
}

TEST_CASE("merges_apply_in_their_order_from_left_to_right", "[data]") {
  const TextDataset data = embedded_text();
  const Vocabulary vocabulary = train_naively(data.valid.substr(0, 10000), 500);
  const Tokenizer tokenizer(vocabulary.tokens, vocabulary.merges);
  const std::string text = data.train.substr(0, 50000) + " ==================== aaaaaaa \xff\xff\xff";
  REQUIRE((tokenizer.encode(text) == encode_naively(vocabulary, text)));
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
  REQUIRE((files_of(train_bpe(parts, 600)) == files_of(train_bpe(letters, 600))));
}

TEST_CASE("bpe_training_does_not_depend_on_the_number_of_threads", "[data]") {
  std::string text;
  const TextDataset data = embedded_text();
  while (text.size() < 2500000) text += data.train + std::to_string(text.size());
  const int threads = num_threads();
  set_num_threads(1);
  const Tokenizer one = train_bpe(text, 700);
  set_num_threads(2);
  const Tokenizer two = train_bpe(text, 700);
  set_num_threads(threads);
  REQUIRE((files_of(one) == files_of(two)));
  REQUIRE(one.vocab_size() == 700);
}

TEST_CASE("trained_tokenizers_survive_saving_and_encode_with_their_merges", "[data]") {
  const TextDataset data = embedded_text();
  const Tokenizer tokenizer = train_bpe(data.train, 1000);
  REQUIRE(tokenizer.vocab_size() == 1000);
  REQUIRE(tokenizer.end_of_text() == TokenId{999});
  TemporaryFolder folder;
  tokenizer.save(folder.path());
  const auto ids = tokenizer.encode(data.valid);
  REQUIRE((Tokenizer::load(folder.path()).encode(data.valid) == ids));
  REQUIRE((tokenizer.decode(ids) == data.valid));
  REQUIRE(ids.size() * 2 < data.valid.size());
}

TEST_CASE("bpe_training_refuses_nonsense", "[data]") {
  REQUIRE(contains(error_of([] { train_bpe("abc", 256); }), "at least 257"));
  REQUIRE(contains(error_of([] { train_bpe("", 300); }), "no text"));
  REQUIRE(train_bpe("abc", 257).vocab_size() == 257);
}

}  // namespace ashlar::data
