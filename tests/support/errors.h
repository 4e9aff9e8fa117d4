// The text of the error that a call throws; empty when it throws none. Another type of exception is a failure.
#pragma once
#include <string>
#include <string_view>

#include "core/error.h"

namespace ashlar::test {

template <class Expected = InputError, class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Expected& error) {
    return error.what();
  }
  return {};
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace ashlar::test
