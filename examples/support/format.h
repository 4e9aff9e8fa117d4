// Numbers and names as people read them, and the number that stands for many.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar::support {

std::string printed(const char* format, double value);  // by std::printf
std::string format_duration(double seconds);            // "4:32", "1:04:32"; "?" for what is no time
std::string format_count(double count);                 // "8.12", "8120", "81.2k", "21.7M"
// "1 thread", "2 threads"; `several` where that is no -s.
std::string counted(std::int64_t count, const std::string& one, const std::string& several = {});

// Columns on a screen: the bytes that do not go on with a character of UTF-8.
std::size_t columns_of(std::string_view utf8);
std::string padded(std::string_view utf8, std::size_t columns);  // with spaces behind it, where it has fewer

double median(std::vector<double> values);  // the middle one, or the mean of the two in the middle; NaN of none

}  // namespace ashlar::support
