// Element types, and the way from a run-time DType to a compile-time type.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/error.h"

namespace ashlar {

using Dim = std::int64_t;

enum class DType : std::uint8_t { f64, f32, bf16, i64, i32, u8 };

// The upper half of an f32. Stores and loads only; arithmetic is done in f32.
struct bfloat16 {
  std::uint16_t bits = 0;
  constexpr bfloat16() = default;
  // Rounds to nearest, ties to even; NaN stays NaN.
  explicit constexpr bfloat16(float value) {
    // Without branches, so that conversion loops are vectorised.
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t quiet = (word >> 16) | 0x40u, rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    bits = static_cast<std::uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
  explicit constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
  }
  return "?";
}
inline void append(std::string& text, DType dtype) { text += name_of(dtype); }

constexpr bool is_floating(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16;
}

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>) return DType::f64;
  else if constexpr (std::is_same_v<U, float>) return DType::f32;
  else if constexpr (std::is_same_v<U, bfloat16>) return DType::bf16;
  else if constexpr (std::is_same_v<U, std::int64_t>) return DType::i64;
  else if constexpr (std::is_same_v<U, std::int32_t>) return DType::i32;
  else {
    static_assert(std::is_same_v<U, std::uint8_t>, "no DType for this type");
    return DType::u8;
  }
}

// The type in which values of T are accumulated: f64 for f64, f32 for f32 and bf16.
template <class T>
using accumulate_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The dtype of weights, their gradients and statistics beside activations of `compute`.
constexpr DType master_dtype(DType compute) { return compute == DType::f64 ? DType::f64 : DType::f32; }

// Calls body.template operator()<T>() with T = double, float or bfloat16.
template <class Body>
decltype(auto) dispatch_floating(DType dtype, std::string_view operation, Body&& body) {
  switch (dtype) {
    case DType::f64: return body.template operator()<double>();
    case DType::f32: return body.template operator()<float>();
    case DType::bf16: return body.template operator()<bfloat16>();
    default: break;
  }
  throw InputError(concat(operation, ": needs a floating dtype (f64, f32 or bf16), got ", dtype));
}

// The same with T = float or bfloat16, of which `dtype` is one.
template <class Body>
void dispatch_f32_bf16(DType dtype, const Body& body) {
  if (dtype == DType::bf16) body.template operator()<bfloat16>();
  else body.template operator()<float>();
}

// Calls body.template operator()<T>() with any element type.
template <class Body>
decltype(auto) dispatch_all(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64: return body.template operator()<double>();
    case DType::f32: return body.template operator()<float>();
    case DType::bf16: return body.template operator()<bfloat16>();
    case DType::i64: return body.template operator()<std::int64_t>();
    case DType::i32: return body.template operator()<std::int32_t>();
    case DType::u8: break;
  }
  return body.template operator()<std::uint8_t>();
}

// Value conversion that also knows bfloat16.
template <class To, class From>
constexpr To convert(From value) {
  if constexpr (std::is_same_v<To, From>) return value;
  else if constexpr (std::is_same_v<From, bfloat16>) return convert<To>(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bfloat16>) return bfloat16(static_cast<float>(value));
  else return static_cast<To>(value);
}

}  // namespace ashlar
