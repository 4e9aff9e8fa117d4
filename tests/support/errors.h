// The text of the error that a call throws; empty when it throws none. Another type of exception is a failure.
#pragma once
#include <string>

#include "core/error.h"

namespace ashlar::testing {

template <class Expected = InputError, class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Expected& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace ashlar::testing
