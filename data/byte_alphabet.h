// How GPT-2's files spell bytes: every byte has a printable character, so that tokens are readable and hold
// no spaces. Printable Latin-1 bytes stand for themselves, the others, in order, are the characters from
// U+0100 on ("Ġ" is a space).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ashlar::data {

// The bytes in the order of GPT-2's first 256 tokens: the printable ones, then the others.
std::array<std::uint8_t, 256> byte_order();

// Bytes as they stand in the files (UTF-8), and back; nothing if `spelling` has a character that stands for
// no byte.
std::string spell_bytes(std::string_view bytes);
std::optional<std::string> unspell_bytes(std::string_view spelling);

}  // namespace ashlar::data
