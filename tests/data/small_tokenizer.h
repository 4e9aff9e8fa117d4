// A vocabulary that a test can spell out.
#pragma once
#include "data/tokenizer.h"

namespace ashlar::data {

// A token for each byte, by its value.
inline std::vector<std::string> single_bytes() {
  std::vector<std::string> tokens;
  for (unsigned byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return tokens;
}

// 256 bytes, then "ab", "abc" and <|endoftext|>.
inline Tokenizer small_tokenizer() {
  std::vector<std::string> tokens = single_bytes();
  for (const char* token : {"ab", "abc", "<|endoftext|>"}) tokens.emplace_back(token);
  return Tokenizer(tokens, {{'a', 'b'}, {256, 'c'}});
}

}  // namespace ashlar::data
