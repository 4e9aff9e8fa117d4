// Sizes of the dimensions of an array, outermost first.
#pragma once
#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace ashlar {

constexpr int kMaxDims = 6;

class Shape {
 public:
  Shape() = default;  // zero dimensions: a scalar
  Shape(std::initializer_list<Dim> sizes) : Shape(std::span<const Dim>(sizes.begin(), sizes.size())) {}
  // InputError for more than kMaxDims, a negative one, and more elements than any memory has room for.
  explicit Shape(std::span<const Dim> sizes);

  int ndim() const { return ndim_; }
  // Negative dimensions count from the end.
  Dim operator[](int dim) const { return sizes_[static_cast<std::size_t>(dim < 0 ? dim + ndim_ : dim)]; }
  Dim numel() const;
  std::span<const Dim> sizes() const { return {sizes_.data(), static_cast<std::size_t>(ndim_)}; }

  // With another size of one dimension; InputError as by the constructor.
  Shape with(int dim, Dim size) const;
  Shape without(int dim) const;
  // (rows, last): all dimensions but the last multiplied into one.
  Shape as_rows() const;
  bool operator==(const Shape& other) const;

 private:
  std::array<Dim, kMaxDims> sizes_{};
  int ndim_ = 0;
};

// "(32, 768)"
void append(std::string& text, const Shape& shape);

// `dim`, counted from the end if negative; InputError naming `operation` if there is no such dimension.
int normalize_dim(int dim, int ndim, std::string_view operation);

}  // namespace ashlar
