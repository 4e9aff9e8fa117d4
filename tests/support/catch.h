// Catch2, version 2 or 3.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // version 2 has it in the global namespace
#else
#include <catch2/catch.hpp>
#endif

#include "core/shape.h"
#include "core/device.h"
#include "core/dtype.h"

// How Catch2 prints them.
namespace ashlar {
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }
inline std::ostream& operator<<(std::ostream& out, const Device& device) { return out << device.name(); }
inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << concat(shape); }
}  // namespace ashlar

namespace ashlar::test {

// Matches what has `text` in it.
inline auto says(const std::string& text) {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::Matchers::ContainsSubstring(text);
#else
  return Catch::Matchers::Contains(text);
#endif
}

}  // namespace ashlar::test
