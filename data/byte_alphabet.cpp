#include "data/byte_alphabet.h"

namespace ashlar::data {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<std::uint16_t, 256> character{};  // of a byte; all below U+0144
  std::array<std::int16_t, 0x144> byte{};      // of a character, or −1
  std::array<std::uint8_t, 256> order{};

  constexpr Alphabet() {
    for (auto& entry : byte) entry = -1;
    std::size_t printable = 0, other = 0;
    for (unsigned b = 0; b < 256; ++b) printable += stands_for_itself(b);
    std::size_t next = 0;
    for (unsigned b = 0; b < 256; ++b) {
      const bool itself = stands_for_itself(b);
      character[b] = static_cast<std::uint16_t>(itself ? b : 0x100 + other);
      byte[character[b]] = static_cast<std::int16_t>(b);
      order[itself ? next++ : printable + other++] = static_cast<std::uint8_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

std::array<std::uint8_t, 256> byte_order() { return kAlphabet.order; }

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    const unsigned character = kAlphabet.character[static_cast<unsigned char>(byte)];
    if (character < 0x80) {
      spelling += static_cast<char>(character);
    } else {
      spelling += static_cast<char>(0xc0 | (character >> 6));
      spelling += static_cast<char>(0x80 | (character & 0x3f));
    }
  }
  return spelling;
}

std::optional<std::string> unspell_bytes(std::string_view spelling) {
  std::string bytes;
  for (std::size_t i = 0; i < spelling.size(); ++i) {
    unsigned character = static_cast<unsigned char>(spelling[i]);
    if (character >= 0x80) {  // two bytes of UTF-8; longer sequences stand for no byte
      if ((character & 0xe0) != 0xc0 || i + 1 == spelling.size()) return std::nullopt;
      character = (character & 0x1f) << 6 | (static_cast<unsigned char>(spelling[++i]) & 0x3f);
    }
    if (character >= kAlphabet.byte.size() || kAlphabet.byte[character] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character]);
  }
  return bytes;
}

}  // namespace ashlar::data
