// Cuts text into the pieces that byte pair encoding works on: GPT-2's pattern
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// through PCRE2. Letters and numbers are those of the Unicode version of the PCRE2 library (14 in PCRE2 10.40
// to 10.42), as the reference's are those of its regular expression library; characters that one of the two
// does not know yet may be cut differently.
#pragma once
#include <string_view>
#include <vector>

namespace ashlar::data {

// The length of the UTF-8 character at the beginning of `text` (not empty), 0 if there is none.
std::size_t utf8_length(std::string_view text);

// The pieces of any byte sequence, in order; together they are `text`. A byte that is not part of valid UTF-8
// counts as a character of its own that is neither letter, number nor space — what Python's "surrogateescape"
// makes of it. `separator`, if not empty, is a piece wherever it stands, and the text ends before it and begins
// anew after it.
std::vector<std::string_view> pretokenize(std::string_view text, std::string_view separator = {});

// Cuts a long text into parts of about `bytes` that can be pretokenized independently: the pieces of the
// parts are the pieces of the text. Cuts lie between a printable ASCII character and a space or newline,
// where every piece ends, and so never in a separator without these; a text without such places stays whole.
std::vector<std::string_view> cut_text(std::string_view text, std::size_t bytes);

}  // namespace ashlar::data
