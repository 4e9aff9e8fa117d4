#include "core/shape.h"

#include <algorithm>

namespace ashlar {

Shape::Shape(std::span<const Dim> sizes) {
  ASHLAR_CHECK(sizes.size() <= kMaxDims, "shape: ", sizes.size(), " dimensions given, at most ", kMaxDims,
               " are supported");
  Dim bytes = sizeof(double);
  for (const Dim size : sizes) {
    ASHLAR_CHECK(size >= 0, "shape: sizes must not be negative, got ", size);
    ASHLAR_CHECK(!__builtin_mul_overflow(bytes, std::max<Dim>(size, 1), &bytes), "shape: the product of ",
                 sizes.size(), " sizes, ", size, " among them, is too large for any memory");
    sizes_[static_cast<std::size_t>(ndim_++)] = size;
  }
}

Dim Shape::numel() const {
  Dim count = 1;
  for (const Dim size : sizes()) count *= size;
  return count;
}

Shape Shape::with(int dim, Dim size) const {
  std::array<Dim, kMaxDims> changed = sizes_;
  changed[static_cast<std::size_t>(normalize_dim(dim, ndim_, "shape"))] = size;
  return Shape(std::span<const Dim>(changed.data(), static_cast<std::size_t>(ndim_)));
}

Shape Shape::without(int dim) const {
  Shape result = *this;
  const auto dropped = result.sizes_.begin() + normalize_dim(dim, ndim_, "shape");
  std::copy(dropped + 1, result.sizes_.end(), dropped);
  --result.ndim_;
  return result;
}

Shape Shape::as_rows() const {
  ASHLAR_CHECK(ndim_ >= 1, "shape ", *this, " has no last dimension to make rows of");
  Dim rows = 1;
  for (const Dim size : sizes().first(static_cast<std::size_t>(ndim_ - 1))) rows *= size;
  return {rows, (*this)[-1]};
}

bool Shape::operator==(const Shape& other) const { return std::ranges::equal(sizes(), other.sizes()); }

void append(std::string& text, const Shape& shape) {
  text += '(';
  for (int d = 0; d < shape.ndim(); ++d) {
    if (d) text += ", ";
    append(text, shape[d]);
  }
  text += ')';
}

int normalize_dim(int dim, int ndim, std::string_view operation) {
  ASHLAR_CHECK(dim >= -ndim && dim < ndim, operation, ": dimension ", dim, " does not exist in an array of ", ndim,
               " dimensions");
  return dim < 0 ? dim + ndim : dim;
}

}  // namespace ashlar
