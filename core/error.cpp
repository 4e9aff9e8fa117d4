#include "core/error.h"

#include <cmath>
#include <cstdio>

namespace ashlar {

void append(std::string& text, std::string_view part) { text += part; }
void append(std::string& text, char part) { text += part; }
void append(std::string& text, double part) {
  if (std::isnan(part)) return append(text, std::string_view("nan"));  // of either sign
  char digits[32];
  text.append(digits, static_cast<std::size_t>(std::snprintf(digits, sizeof digits, "%g", part)));
}
void append(std::string& text, long long part) { text += std::to_string(part); }
void append(std::string& text, unsigned long long part) { text += std::to_string(part); }

}  // namespace ashlar
