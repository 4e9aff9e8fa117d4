#include "core/error.h"

#include <cstdio>

namespace ashlar {

void append(std::string& text, std::string_view part) { text += part; }
void append(std::string& text, char part) { text += part; }
void append(std::string& text, double part) {
  char digits[32];
  text.append(digits, static_cast<std::size_t>(std::snprintf(digits, sizeof digits, "%g", part)));
}
void append(std::string& text, long long part) { text += std::to_string(part); }
void append(std::string& text, unsigned long long part) { text += std::to_string(part); }

}  // namespace ashlar
