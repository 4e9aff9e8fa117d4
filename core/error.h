// Errors. Library code throws, never prints or aborts; programs turn an InputError into exit code 2.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

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

// A part of a text, numbers as a stream writes them. Types of the project have an append of their own beside them: streams
// would make a short source take a third longer to compile.
void append(std::string& text, std::string_view part);
void append(std::string& text, char part);
void append(std::string& text, double part);
void append(std::string& text, long long part);
void append(std::string& text, unsigned long long part);
template <class T>
  requires std::is_integral_v<T>
void append(std::string& text, T part) {
  append(text, static_cast<std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>>(part));
}

// Joins the parts into one text. Marked cold: errors are what it is for.
template <class... Parts>
[[gnu::cold, gnu::noinline]] std::string concat(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

}  // namespace ashlar

// Throws InputError with the joined parts unless `condition` holds. Start the text with the operation:
//   ASHLAR_CHECK(a.size(1) == b.size(0), "matmul: columns of a ", a.shape(), " must equal rows of b ", b.shape());
#define ASHLAR_CHECK(condition, ...)                                                \
  do {                                                                              \
    if (!(condition)) throw ::ashlar::InputError(::ashlar::concat(__VA_ARGS__));    \
  } while (false)
