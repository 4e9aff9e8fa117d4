// Views made from views: other offsets, sizes and strides over the same memory.
#pragma once
#include <initializer_list>
#include <utility>

#include "core/view.h"

namespace ashlar::kernels {

// `count` elements after `data`, whatever the dtype.
inline const void* advance(const void* data, DType dtype, Dim count) {
  return static_cast<const std::byte*>(data) + count * static_cast<Dim>(size_of(dtype));
}
inline void* advance(void* data, DType dtype, Dim count) {
  return static_cast<std::byte*>(data) + count * static_cast<Dim>(size_of(dtype));
}

// Elements of `v` from `offset` on, with a shape and strides of their own.
template <class AnyView>
AnyView strided(const AnyView& v, Dim offset, const Shape& shape, std::initializer_list<Dim> strides) {
  AnyView result = v;
  result.data = advance(v.data, v.dtype, offset);
  result.shape = shape;
  result.stride = {};
  std::copy(strides.begin(), strides.end(), result.stride.begin());
  return result;
}

// Indices [begin, begin + count) of the first dimension. An absent view stays absent.
template <class AnyView>
AnyView rows_of(AnyView v, Dim begin, Dim count) {
  if (!v) return v;
  v.data = advance(v.data, v.dtype, begin * v.step(0));
  v.shape = v.shape.with(0, count);
  return v;
}

// Sets gradients of no rows to 0; any may be absent.
inline void clear(std::initializer_list<View> gradients) {
  for (const View& gradient : gradients) {
    if (gradient) fill(gradient, 0);
  }
}

// v (N) as one row (1, N).
template <class AnyView>
AnyView as_row(const AnyView& v) {
  return strided(v, 0, {1, v.size(0)}, {0, v.step(0)});
}

// The view at one index of a dimension, without that dimension.
template <class AnyView>
AnyView select(AnyView v, int dim, Dim index) {
  v.data = advance(v.data, v.dtype, index * v.step(dim));
  v.shape = v.shape.without(dim);
  std::copy(v.stride.begin() + dim + 1, v.stride.end(), v.stride.begin() + dim);
  return v;
}

// The last two dimensions exchanged.
template <class AnyView>
AnyView transposed(AnyView v) {
  const auto last = static_cast<std::size_t>(v.shape.ndim() - 1);
  const Dim rows = v.size(-2), columns = v.size(-1);
  v.shape = v.shape.with(-2, columns).with(-1, rows);
  std::swap(v.stride[last], v.stride[last - 1]);
  return v;
}

}  // namespace ashlar::kernels
