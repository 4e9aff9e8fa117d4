// A vocabulary that a test can spell out.
#pragma once
#include "data/tokenizer.h"

namespace ashlar::data {

// 256 bytes, then "ab", "abc" and <|endoftext|>.
inline Tokenizer small_tokenizer() {
  std::vector<std::string> tokens;
  for (unsigned byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* token : {"ab", "abc", "<|endoftext|>"}) tokens.emplace_back(token);
  return Tokenizer(tokens, {{'a', 'b'}, {256, 'c'}});
}

}  // namespace ashlar::data
