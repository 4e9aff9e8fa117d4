#include "data/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <memory>
#include <string>

#include "core/error.h"

namespace ashlar::data {
namespace {

// Unicode's White_Space, spelled out: PCRE2's \s also has U+180E, which Unicode took out in version 6.3.
#define ASHLAR_SPACE \
  R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"
constexpr const char* kPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N})" ASHLAR_SPACE R"(]+|[)" ASHLAR_SPACE
    R"(]+(?![^)" ASHLAR_SPACE R"(])|[)" ASHLAR_SPACE R"(]+)";
#undef ASHLAR_SPACE

std::string pcre_message(int code) {
  unsigned char text[256] = "";
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

using Code = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;
using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

Code compile() {
  int failure = 0;
  std::size_t at = 0;
  // The pattern covers every character, so each match begins where the last one ended.
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_ANCHORED, &failure, &at, nullptr),
            pcre2_code_free);
  if (!code) throw Error(concat("tokenizer: PCRE2 refuses the pattern at ", at, ": ", pcre_message(failure)));
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, matching interprets the pattern
  return code;
}

// Text as the pattern sees it: every invalid byte replaced by U+0080, a control character of two bytes.
struct Repaired {
  std::string text;                   // empty if nothing had to be replaced
  std::vector<std::size_t> inserted;  // where in `text` the replacements end, ascending
};
Repaired repair(std::string_view text) {
  Repaired result;
  std::size_t copied = 0;  // of the original
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i));
    if (length > 0) {
      i += length;
      continue;
    }
    result.text += text.substr(copied, i - copied);
    result.text += "\xc2\x80";
    result.inserted.push_back(result.text.size());
    copied = ++i;
  }
  if (!result.inserted.empty()) result.text += text.substr(copied);
  return result;
}

// `match` is room for one match.
void append_pieces(std::string_view text, pcre2_match_data* match, std::vector<std::string_view>& pieces) {
  static const Code code = compile();
  const Repaired repaired = repair(text);
  const std::string_view subject = repaired.inserted.empty() ? text : repaired.text;
  const std::size_t* const bounds = pcre2_get_ovector_pointer(match);

  std::size_t replaced = 0;  // replacements before `end`: the original is so many bytes shorter there
  std::size_t begin = 0;     // in the original
  for (std::size_t end = 0; end < subject.size();) {
    const int matched = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                                    end, PCRE2_NO_UTF_CHECK, match, nullptr);
    if (matched < 0)
      throw Error(concat("tokenizer: PCRE2 fails at byte ", begin, ": ", pcre_message(matched)));
    end = bounds[1];
    while (replaced < repaired.inserted.size() && repaired.inserted[replaced] <= end) ++replaced;
    pieces.push_back(text.substr(begin, end - replaced - begin));
    begin = end - replaced;
  }
}

}  // namespace

// Overlong forms, surrogates and numbers beyond U+10FFFF are invalid (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const unsigned second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
      (lead == 0xf4 && second > 0x8f))
    return 0;
  return length;
}

std::vector<std::string_view> pretokenize(std::string_view text, std::string_view separator) {
  const MatchData match(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  if (!match) throw Error("tokenizer: no memory for a match");
  std::vector<std::string_view> pieces;
  while (!separator.empty()) {
    const std::size_t end = text.find(separator);
    if (end == std::string_view::npos) break;
    append_pieces(text.substr(0, end), match.get(), pieces);
    pieces.push_back(text.substr(end, separator.size()));
    text.remove_prefix(end + separator.size());
  }
  append_pieces(text, match.get(), pieces);
  return pieces;
}

std::vector<std::string_view> cut_text(std::string_view text, std::size_t bytes) {
  const auto can_cut = [&](std::size_t at) {
    return (text[at] == ' ' || text[at] == '\n') && text[at - 1] > ' ' && text[at - 1] <= '~';
  };
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(begin + std::max<std::size_t>(bytes, 1), text.size());
    while (end < text.size() && !can_cut(end)) ++end;
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return parts;
}

}  // namespace ashlar::data
