// What the benchmarks share.
#pragma once
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace ashlar::support {

// The parts of a list option between separators, empty ones left out.
inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// The middle value, or the mean of the two middle ones, of at least one.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace ashlar::support
