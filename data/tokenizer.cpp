#include "data/tokenizer.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "core/parallel.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"

namespace ashlar::data {
namespace {

bool is_special(std::string_view token) { return token.starts_with("<|") && token.ends_with("|>"); }

}  // namespace

Tokenizer::Tokenizer(std::vector<std::string> tokens, std::vector<TokenPair> merges)
    : tokens_(std::move(tokens)), merges_(std::move(merges)) {
  std::unordered_map<std::string_view, TokenId> id_of;
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    const bool is_new = id_of.emplace(tokens_[id], static_cast<TokenId>(id)).second;
    ASHLAR_CHECK(is_new, "tokenizer: the vocabulary has '", spell_bytes(tokens_[id]), "' twice");
  }
  std::vector<bool> reached(tokens_.size(), false);  // by bytes and the merges so far
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    const auto found = id_of.find(text);
    ASHLAR_CHECK(found != id_of.end(), "tokenizer: the vocabulary has no token for byte ", byte, " ('",
                 spell_bytes(text), "'); a byte-level vocabulary has all 256");
    byte_token_[byte] = found->second;
    reached[static_cast<std::size_t>(found->second)] = true;
  }
  merge_of_.reserve(merges_.size());
  for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
    const auto [left, right] = merges_[rank];
    const std::string& first = token(left);
    const std::string& second = token(right);
    const auto describe = [&] {
      return concat("merge ", rank, " '", spell_bytes(first), " ", spell_bytes(second), "'");
    };
    ASHLAR_CHECK(reached[static_cast<std::size_t>(left)] && reached[static_cast<std::size_t>(right)],
                 "tokenizer: ", describe(), " uses a token that no earlier merge makes");
    const auto found = id_of.find(first + second);
    ASHLAR_CHECK(found != id_of.end(), "tokenizer: ", describe(), " makes '", spell_bytes(first + second),
                 "', which the vocabulary lacks; vocabulary and merges do not match");
    const bool is_new =
        merge_of_.emplace(merges_[rank], Merge{static_cast<std::int32_t>(rank), found->second}).second;
    ASHLAR_CHECK(is_new, "tokenizer: ", describe(), " is listed twice");
    reached[static_cast<std::size_t>(found->second)] = true;
  }
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    ASHLAR_CHECK(reached[id] || is_special(tokens_[id]), "tokenizer: no merge makes token ", id, " '",
                 spell_bytes(tokens_[id]), "'; vocabulary (", tokens_.size(), " tokens) and merges (",
                 merges_.size(), ") do not match");
    if (tokens_[id] == kEndOfText) end_of_text_ = static_cast<TokenId>(id);
  }
}

const std::string& Tokenizer::token(TokenId id) const {
  ASHLAR_CHECK(id >= 0 && id < vocab_size(), "tokenizer: id ", id, " is outside the vocabulary of ",
               vocab_size());
  return tokens_[static_cast<std::size_t>(id)];
}

const Tokenizer::Merge* Tokenizer::find_merge(TokenPair pair) const {
  const auto found = merge_of_.find(pair);
  return found == merge_of_.end() ? nullptr : &found->second;
}

// The end of a text is a token as it stands. Elsewhere the merge of lowest rank is applied, the leftmost first,
// until none is left; a queue of candidates over a linked list makes that n log n for a piece of n bytes.
void Tokenizer::append_piece(std::string_view piece, std::vector<TokenId>& ids) const {
  if (end_of_text_ && piece == kEndOfText) {
    ids.push_back(*end_of_text_);
    return;
  }
  constexpr std::int32_t kNone = -1;
  struct Node {
    TokenId id;  // kNone once it has been merged into its left neighbour
    std::int32_t previous, next;
  };
  // Ordered by rank, then position. The ids tell whether the candidate still stands when its turn comes.
  struct Candidate {
    std::int32_t rank, position;
    TokenPair pair;
    TokenId result;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, position) > std::tie(other.rank, other.position);
    }
  };
  const auto size = static_cast<std::int32_t>(piece.size());
  std::vector<Node> nodes(piece.size());
  for (std::int32_t i = 0; i < size; ++i) {
    const auto at = static_cast<std::size_t>(i);
    nodes[at] = {byte_token_[static_cast<unsigned char>(piece[at])], i - 1, i + 1 < size ? i + 1 : kNone};
  }
  const auto node = [&](std::int32_t position) -> Node& { return nodes[static_cast<std::size_t>(position)]; };

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::int32_t position) {
    if (position == kNone || node(position).next == kNone) return;
    const TokenPair pair{node(position).id, node(node(position).next).id};
    if (const Merge* merge = find_merge(pair)) queue.push({merge->rank, position, pair, merge->result});
  };
  for (std::int32_t i = 0; i < size; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = node(best.position);
    if (left.next == kNone || TokenPair{left.id, node(left.next).id} != best.pair) continue;
    Node& right = node(left.next);
    left.id = best.result;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) node(left.next).previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (std::int32_t i = 0; i != kNone && size > 0; i = node(i).next) ids.push_back(node(i).id);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  constexpr std::size_t kChunk = 1 << 20;     // bytes that one thread encodes at a time
  constexpr std::size_t kLongestCached = 64;  // bytes of a piece
  const std::vector<std::string_view> chunks = cut_text(text, kChunk);
  // Most pieces are words seen before: each thread keeps where in `ids` their tokens lie.
  struct Cache {
    std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> entry;  // begin, count
    std::vector<TokenId> ids;
  };
  std::vector<Cache> caches(static_cast<std::size_t>(num_threads()));
  std::vector<std::vector<TokenId>> encoded(chunks.size());
  parallel_items(static_cast<Dim>(chunks.size()), [&](Dim item) {
    const std::string_view chunk = chunks[static_cast<std::size_t>(item)];
    std::vector<TokenId>& ids = encoded[static_cast<std::size_t>(item)];
    Cache& cache = caches[static_cast<std::size_t>(caches.size() == 1 ? 0 : omp_get_thread_num())];
    for (const std::string_view piece : pretokenize(chunk, end_of_text_ ? kEndOfText : "")) {
      if (piece.size() > kLongestCached) {
        append_piece(piece, ids);
        continue;
      }
      const auto [found, is_new] = cache.entry.try_emplace(piece);
      auto& [begin, count] = found->second;
      if (is_new) {
        begin = cache.ids.size();
        append_piece(piece, cache.ids);
        count = cache.ids.size() - begin;
      }
      const auto from = cache.ids.begin() + static_cast<std::ptrdiff_t>(begin);
      ids.insert(ids.end(), from, from + static_cast<std::ptrdiff_t>(count));
    }
  });
  if (encoded.size() == 1) return std::move(encoded[0]);
  std::vector<TokenId> result;
  std::size_t total = 0;
  for (const auto& ids : encoded) total += ids.size();
  result.reserve(total);
  for (const auto& ids : encoded) result.insert(result.end(), ids.begin(), ids.end());
  return result;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text += token(id);
  return text;
}

}  // namespace ashlar::data
