// The values of options: from the text of a flag or the JSON of a config into a variable, and back.
#pragma once
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace ashlar::support {

// A number if the whole text is one, otherwise the text: what the value would be in a config.
inline Json number_or_text(const std::string& text) {
  if (const auto whole = parse_number<std::int64_t>(text)) return *whole;
  if (const auto large = parse_number<std::uint64_t>(text)) return *large;
  // "inf" and "nan" are texts, as JSON has no such numbers.
  if (const auto real = parse_number<double>(text); real && std::isfinite(*real)) return *real;
  return text;
}

// Whether `value` is a whole number, small enough that the next one is another double.
inline bool is_whole(double value) { return std::trunc(value) == value && std::abs(value) < 0x1p53; }

[[noreturn]] inline void wrong_type(const std::string& where, const char* expected, const Json& got) {
  throw InputError(concat(where, ": needs ", expected, ", got ", printed_json(got)));
}

// What a config keeps must come back from it: JSON holds UTF-8 alone.
inline void check_utf8(const Json& value, const std::string& flag) {
  try {
    value.dump();
  } catch (const Json::type_error&) {
    throw InputError(concat(flag, ": '", value.get<std::string>(),
                            "' is not valid UTF-8, and config.json could not keep it; rename it"));
  }
}

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
T value_from(const Json& json, const std::string& where) {
  if constexpr (is_optional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return value_from<typename T::value_type>(json, where);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) wrong_type(where, "true or false", json);
    return json.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    // 1e3 is a whole number too.
    const bool whole = json.is_number_integer() || (json.is_number_float() && is_whole(json.get<double>()));
    if (!whole) wrong_type(where, "a whole number", json);
    const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<std::uint64_t>())
                                                : std::in_range<T>(json.get<std::int64_t>());
    const bool negative = !json.is_number_unsigned() && json.get<std::int64_t>() < 0;
    if (!fits) {
      wrong_type(where, !negative ? "a smaller number" : std::is_unsigned_v<T> ? "a number that is not negative" : "a larger number",
                 json);
    }
    return json.get<T>();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.is_number() || !std::isfinite(json.get<double>())) wrong_type(where, "a number", json);
    return json.get<T>();
  } else {
    if (!json.is_string()) wrong_type(where, "a text", json);
    return T(json.get<std::string>());
  }
}

// A whole number is written as one, 3 and not 3.0, whatever the type of its option.
template <class T>
Json json_from(const T& value) {
  if constexpr (is_optional<T>::value) return value ? json_from(*value) : Json();
  else if constexpr (std::is_same_v<T, std::filesystem::path>) return value.string();
  else if constexpr (std::is_floating_point_v<T>) return is_whole(value) ? Json(static_cast<std::int64_t>(value)) : Json(value);
  else return value;
}

template <class T>
constexpr const char* default_value_name() {
  if constexpr (is_optional<T>::value) return default_value_name<typename T::value_type>();
  else if constexpr (std::is_same_v<T, bool>) return "";
  else if constexpr (std::is_integral_v<T>) return "N";
  else if constexpr (std::is_floating_point_v<T>) return "X";
  else if constexpr (std::is_same_v<T, std::filesystem::path>) return "PATH";
  else return "TEXT";
}

}  // namespace ashlar::support
