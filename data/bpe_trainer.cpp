#include "data/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "core/parallel.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"

namespace ashlar::data {
namespace {

using Count = std::int64_t;

struct Word {
  std::vector<TokenId> tokens;
  Count count;  // in the text
};

// Finding a pair in a word takes time by its length. What is longer, a line of base64 or one without spaces, is
// cut, so that learning takes time by the length of the text.
constexpr std::size_t kLongestWord = 1024;

// The different pieces of the texts as single bytes, without what separates the texts; a piece of one byte has no pairs
// and is left out.
std::vector<Word> count_pieces(std::string_view text, const std::array<TokenId, 256>& byte_token) {
  constexpr std::size_t kChunk = 1 << 20;
  const std::vector<std::string_view> chunks = cut_text(text, kChunk);
  std::unordered_map<std::string_view, Count> counts;
  parallel_items(static_cast<Dim>(chunks.size()), [&](Dim item) {
    std::unordered_map<std::string_view, Count> own;
    for (const std::string_view piece : pretokenize(chunks[static_cast<std::size_t>(item)], kEndOfText)) {
      if (piece == kEndOfText) continue;
      for (std::size_t begin = 0; begin < piece.size(); begin += kLongestWord) ++own[piece.substr(begin, kLongestWord)];
    }
#pragma omp critical(ashlar_count_pieces)
    for (const auto& [piece, count] : own) counts[piece] += count;
  });
  std::vector<Word> words;
  words.reserve(counts.size());
  for (const auto& [piece, count] : counts) {
    if (piece.size() < 2) continue;
    Word& word = words.emplace_back(Word{{}, count});
    for (const char byte : piece) word.tokens.push_back(byte_token[static_cast<unsigned char>(byte)]);
  }
  return words;
}

// All pairs of neighbours with how often and in which words they occur, and a queue of the most frequent
// ones. The queue may hold counts that have fallen since; they are corrected when they come to the front.
class PairIndex {
 public:
  struct Best {
    TokenPair pair;
    Count count;
    std::vector<std::size_t> words;  // those it occurs in, and perhaps some it did occur in
  };

  // All pairs of a word; `index` is its place among the words.
  void add(const Word& word, std::size_t index) {
    for (std::size_t i = 0; i + 1 < word.tokens.size(); ++i)
      add({word.tokens[i], word.tokens[i + 1]}, word.count, index);
  }
  // Replaces the pair by `result` in a word, from left to right, and counts what is beside it anew. The pairs
  // whose count has risen are appended to `risen`.
  void merge(Word& word, std::size_t index, TokenPair pair, TokenId result, std::vector<TokenPair>& risen) {
    std::vector<TokenId>& tokens = word.tokens;
    const std::size_t size = tokens.size();
    std::size_t out = 0;  // the word is tokens[0, out) and tokens[i, size)
    for (std::size_t i = 0; i < size; ++out) {
      if (i + 1 == size || TokenPair{tokens[i], tokens[i + 1]} != pair) {
        tokens[out] = tokens[i++];
        continue;
      }
      remove(pair, word.count);
      if (out > 0) {
        remove({tokens[out - 1], pair.left}, word.count);
        risen.push_back({tokens[out - 1], result});
        add(risen.back(), word.count, index);
      }
      if (i + 2 < size) {
        remove({pair.right, tokens[i + 2]}, word.count);
        risen.push_back({result, tokens[i + 2]});
        add(risen.back(), word.count, index);
      }
      tokens[out] = result;
      i += 2;
    }
    tokens.resize(out);
  }
  void queue_all() {
    for (const auto& [pair, entry] : entries_) queue_.push({entry.count, pair});
  }
  // For pairs whose count may have risen.
  void queue(TokenPair pair) { queue_.push({entries_[pair].count, pair}); }
  // Takes the most frequent pair out; a count of 0 when there is none.
  Best take_best() {
    while (!queue_.empty()) {
      const Queued top = queue_.top();
      queue_.pop();
      const auto found = entries_.find(top.pair);
      if (found == entries_.end() || found->second.count <= 0) continue;
      if (found->second.count != top.count) {
        queue_.push({found->second.count, top.pair});
        continue;
      }
      Best best{top.pair, top.count, std::move(found->second.words)};
      found->second.words.clear();
      return best;
    }
    return {};
  }

 private:
  struct Entry {
    Count count = 0;
    std::vector<std::size_t> words;
  };
  struct Queued {
    Count count;
    TokenPair pair;
    // The largest comes first: the highest count, then the smallest pair.
    bool operator<(const Queued& other) const {
      return std::tie(count, other.pair) < std::tie(other.count, pair);
    }
  };
  void add(TokenPair pair, Count count, std::size_t word) {
    Entry& entry = entries_[pair];
    entry.count += count;
    if (entry.words.empty() || entry.words.back() != word) entry.words.push_back(word);
  }
  void remove(TokenPair pair, Count count) { entries_[pair].count -= count; }

  std::unordered_map<TokenPair, Entry, TokenPair::Hash> entries_;
  std::priority_queue<Queued> queue_;
};

}  // namespace

Tokenizer train_bpe(std::string_view text, Dim vocab_size) {
  constexpr Dim kSmallest = 257;
  ASHLAR_CHECK(vocab_size >= kSmallest, "tokenizer: a byte-level vocabulary has at least ", kSmallest,
               " tokens (256 bytes and ", kEndOfText, "), asked for ", vocab_size);
  ASHLAR_CHECK(!text.empty(), "tokenizer: there is no text to learn a vocabulary from");
  std::vector<std::string> tokens;
  std::array<TokenId, 256> byte_token{};
  for (const std::uint8_t byte : byte_order()) {
    byte_token[byte] = static_cast<TokenId>(tokens.size());
    tokens.emplace_back(1, static_cast<char>(byte));
  }

  std::vector<Word> words = count_pieces(text, byte_token);
  PairIndex pairs;
  for (std::size_t w = 0; w < words.size(); ++w) pairs.add(words[w], w);
  pairs.queue_all();
  std::vector<TokenPair> merges;
  while (static_cast<Dim>(tokens.size()) + 1 < vocab_size) {
    const PairIndex::Best best = pairs.take_best();
    if (best.count < 2) break;
    const auto result = static_cast<TokenId>(tokens.size());
    const auto at = [&](TokenId id) -> const std::string& { return tokens[static_cast<std::size_t>(id)]; };
    // A new token: as no merge has crossed the ends of these bytes, the merges so far have cut them as they do
    // wherever else they stand, and the pair is merged everywhere at once.
    tokens.push_back(at(best.pair.left) + at(best.pair.right));
    merges.push_back(best.pair);
    std::vector<TokenPair> risen;
    for (const std::size_t w : best.words) pairs.merge(words[w], w, best.pair, result, risen);
    std::ranges::sort(risen);
    risen.erase(std::unique(risen.begin(), risen.end()), risen.end());
    for (const TokenPair pair : risen) pairs.queue(pair);
  }
  tokens.emplace_back(kEndOfText);
  return Tokenizer(std::move(tokens), std::move(merges));
}

}  // namespace ashlar::data
