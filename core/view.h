// What kernels receive: a pointer, a dtype and a layout. Strides count elements; stride 0 repeats an element.
#pragma once
#include <array>

#include "core/device.h"
#include "core/shape.h"

namespace ashlar {

template <class Pointer>
struct BasicView {
  Pointer data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  std::array<Dim, kMaxDims> stride{};
  Device device{};  // where `data` points to

  // A default-made view stands for "not given" (an optional bias, a gradient nobody needs).
  explicit operator bool() const { return data != nullptr; }
  Dim size(int dim) const { return shape[dim]; }
  Dim step(int dim) const { return stride[static_cast<std::size_t>(dim < 0 ? dim + shape.ndim() : dim)]; }
  Dim numel() const { return shape.numel(); }

  // Row-major without gaps.
  bool contiguous() const {
    Dim expected = 1;
    for (int d = shape.ndim() - 1; d >= 0; --d) {
      if (shape[d] != 1 && step(d) != expected) return false;
      expected *= shape[d];
    }
    return true;
  }
  template <class T>
  auto* as() const {
    if constexpr (std::is_const_v<std::remove_pointer_t<Pointer>>) return static_cast<const T*>(data);
    else return static_cast<T*>(data);
  }
};

using View = BasicView<void*>;

struct ConstView : BasicView<const void*> {
  ConstView() = default;
  ConstView(const void* data_, DType dtype_, const Shape& shape_, const std::array<Dim, kMaxDims>& stride_,
            Device device_ = {})
      : BasicView{data_, dtype_, shape_, stride_, device_} {}
  ConstView(const View& v) : BasicView{v.data, v.dtype, v.shape, v.stride, v.device} {}
};

// Row-major strides of a shape.
inline std::array<Dim, kMaxDims> contiguous_strides(const Shape& shape) {
  std::array<Dim, kMaxDims> stride{};
  Dim step = 1;
  for (int d = shape.ndim() - 1; d >= 0; --d) {
    stride[static_cast<std::size_t>(d)] = step;
    step *= shape[d];
  }
  return stride;
}

// Copies values within one device, converting the dtype, whatever the strides.
void copy(const ConstView& from, const View& to);
// Sets every element, whatever the strides and the device.
void fill(const View& to, double value);

}  // namespace ashlar
