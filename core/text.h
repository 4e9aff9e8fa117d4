// Lists and numbers as text and back, and hints for names that are nearly right.
#pragma once
#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar {

// "a, b, c" of a range of texts.
template <class Texts>
std::string join(const Texts& parts) {
  std::string text;
  std::string_view separator;
  for (const std::string_view part : parts) {
    text.append(separator).append(part);
    separator = ", ";
  }
  return text;
}

// "a, b, c" or, of more than `shown`, "a, b and 7 more".
inline std::string join_first(const std::vector<std::string>& parts, std::size_t shown = 6) {
  if (parts.size() <= shown) return join(parts);
  const std::vector<std::string> first(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(shown));
  return join(first) + " and " + std::to_string(parts.size() - shown) + " more";
}

// Empty unless the whole text is a number that the type holds.
template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Without white space around it.
constexpr std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \n\t";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

// Of the letters of ASCII.
inline std::string lowercase(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

// Without the mark that some editors write before UTF-8.
constexpr std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  return text;
}

// The parts of a list between separators, each trimmed; empty ones are left out.
inline std::vector<std::string> split(std::string_view list, char separator) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(separator));
    if (const std::string_view text = trimmed(part); !text.empty()) parts.emplace_back(text);
    list.remove_prefix(std::min(part.size() + 1, list.size()));
  }
  return parts;
}

// The candidate with the smallest edit distance to `text`, if that is at most half of its length; empty otherwise.
std::string nearest(const std::string& text, const std::vector<std::string>& candidates);
// "did you mean 'blast'? ", for an error that goes on with what is valid; empty if no candidate is near.
std::string did_you_mean(const std::string& text, const std::vector<std::string>& candidates);

}  // namespace ashlar
