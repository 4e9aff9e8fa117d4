// Errors. Library code throws, never prints or aborts; programs turn an InputError into exit code 2.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace ashlar {

// Something failed at run time (a disk, a numerical breakdown, a broken invariant).
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What the user gave cannot be used: shapes, files, keys, options. The text names it and the remedy.
class InputError : public Error {
 public:
  using Error::Error;
};

// Joins the parts into one text with operator<<. Cold: it is for errors, and compilers are to waste no time on it.
template <class... Parts>
[[gnu::cold]] std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

}  // namespace ashlar

// Throws InputError with the joined parts unless `condition` holds. Start the text with the operation:
//   ASHLAR_CHECK(a.size(1) == b.size(0), "matmul: columns of a ", a.shape(), " must equal rows of b ", b.shape());
#define ASHLAR_CHECK(condition, ...)                                                \
  do {                                                                              \
    if (!(condition)) throw ::ashlar::InputError(::ashlar::concat(__VA_ARGS__));    \
  } while (false)
