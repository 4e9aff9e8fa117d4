#include "examples/support/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "core/error.h"

namespace ashlar::support {

std::string printed(const char* format, double value) {
  std::string text(static_cast<std::size_t>(std::snprintf(nullptr, 0, format, value)), '\0');
  std::snprintf(text.data(), text.size() + 1, format, value);
  return text;
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "?";  // also NaN
  const auto whole = static_cast<long long>(std::llround(seconds));
  char text[64];
  if (whole < 3600) std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  else std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

std::string format_count(double count) {
  if (!std::isfinite(count)) return "?";
  const char* suffix = "";
  if (std::abs(count) >= 9999.5) {
    for (const char* larger : {"k", "M", "G", "T"}) {
      count /= 1000;
      suffix = larger;
      if (std::abs(count) < 999.5) break;
    }
  }
  const bool whole = count == std::floor(count) && *suffix == '\0';
  return printed(whole || std::abs(count) >= 99.95 ? "%.0f" : std::abs(count) >= 9.995 ? "%.1f" : "%.2f", count) + suffix;
}

std::string counted(std::int64_t count, const std::string& one, const std::string& several) {
  return std::to_string(count) + ' ' + (count == 1 ? one : several.empty() ? one + 's' : several);
}

std::size_t columns_of(std::string_view utf8) {
  return static_cast<std::size_t>(std::ranges::count_if(utf8, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(std::string_view utf8, std::size_t columns) {
  const std::size_t own = columns_of(utf8);
  return concat(utf8, std::string(columns > own ? columns - own : 0, ' '));
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace ashlar::support
