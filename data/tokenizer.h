// Byte-level byte pair encoding as GPT-2 does it (Sennrich et al. 2016; Radford et al. 2019), with GPT-2's
// two files: vocab.json maps every token to its id, merges.txt lists the merges in the order in which they
// apply.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/dtype.h"

namespace ashlar::data {

using TokenId = std::int32_t;
struct TokenPair {
  TokenId left, right;
  auto operator<=>(const TokenPair&) const = default;
  struct Hash {
    std::size_t operator()(TokenPair pair) const noexcept {
      return std::uint64_t{static_cast<std::uint32_t>(pair.left)} << 32 | static_cast<std::uint32_t>(pair.right);
    }
  };
};
// The special token between two texts. encode() gives no others: what they spell is text to it.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";

class Tokenizer {
 public:
  // `tokens` are the bytes of every id: all single bytes, the result of every merge, and otherwise only
  // special tokens <|…|>. `merges` are in the order in which they apply. InputError when the two do not fit
  // together.
  Tokenizer(std::vector<std::string> tokens, std::vector<TokenPair> merges);

  // Reads vocab.json and merges.txt of a folder, as Hugging Face calls them, OpenAI's encoder.json and vocab.bpe, which are the
  // same, or the tokenizer.json in which Hugging Face has both. InputError naming file and token when one of them is missing,
  // damaged or does not match the other.
  static Tokenizer load(const std::filesystem::path& folder);
  // Whether a folder has a vocabulary under one of these names.
  static bool is_in(const std::filesystem::path& folder);
  // Makes the folder and writes vocab.json and merges.txt, each atomically. Those are what load() finds first.
  void save(const std::filesystem::path& folder) const;

  Dim vocab_size() const { return static_cast<Dim>(tokens_.size()); }
  const std::string& token(TokenId id) const;  // its bytes; InputError outside the vocabulary
  // kEndOfText, if the vocabulary has it.
  std::optional<TokenId> end_of_text() const { return end_of_text_; }

  // The ids of any byte sequence; decode gives the same bytes back. <|endoftext|> in the text is the special token, if the
  // vocabulary has it, and the texts before and after it are encoded each on its own, as by tiktoken with allowed_special;
  // other special tokens are ordinary text. Of the merges that apply within a piece the lowest is made, at its leftmost place,
  // until none applies. (OpenAI's code makes it at all its places at once; that can only differ when two merges make the same
  // token, as in no vocabulary that was learned.) Long texts are cut where that does not change the result and encoded in
  // parallel.
  std::vector<TokenId> encode(std::string_view text) const;
  std::string decode(std::span<const TokenId> ids) const;

 private:
  struct Merge {
    std::int32_t rank;  // the lowest is applied first
    TokenId result;
  };
  const Merge* find_merge(TokenPair pair) const;
  void append_piece(std::string_view piece, std::vector<TokenId>& ids) const;

  std::vector<std::string> tokens_;
  std::vector<TokenPair> merges_;
  std::unordered_map<TokenPair, Merge, TokenPair::Hash> merge_of_;
  std::array<TokenId, 256> byte_token_{};
  std::optional<TokenId> end_of_text_;
};

}  // namespace ashlar::data
