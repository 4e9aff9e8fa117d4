// Settings in the environment that have a few values.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "core/error.h"
#include "core/text.h"

namespace ashlar {

// The value of the environment variable `name`, the first of `choices` where it is unset or empty. InputError, with the
// choices and what they are about, if it is none of them.
inline std::string_view environment_choice(const char* name, std::initializer_list<std::string_view> choices,
                                           std::string_view about) {
  const char* const set = std::getenv(name);
  if (!set || !*set) return *choices.begin();
  const auto found = std::find(choices.begin(), choices.end(), std::string_view(set));
  if (found != choices.end()) return *found;
  throw InputError(concat(name, " is ", set, "; valid: ", join(choices), " (", about, ")"));
}

}  // namespace ashlar
