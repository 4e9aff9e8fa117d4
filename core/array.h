// Array: values in memory — shared storage, an offset, a shape and strides. No graph, no arithmetic.
#pragma once
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "core/view.h"

namespace ashlar {

class Allocator;

// Bytes on a device, returned to their allocator with the last Array that shows them.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // Counts the views for writing that were made, so that autograd can tell that a saved value is stale. What is written
  // through Array::data() it does not see.
  std::uint64_t version = 0;

 private:
  std::size_t bytes_;
  Device device_;
  std::shared_ptr<Allocator> pool_;  // keeps it alive; null where the memory is of the device's allocator
  Allocator* allocator_;
  void* data_;
  std::size_t capacity_;
};

class Array {
 public:
  Array() = default;  // undefined
  static Array empty(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Array zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Array full(const Shape& shape, double value, DType dtype = DType::f32, Device device = {});
  // A copy of host values.
  template <class T>
  static Array from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Array from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  Dim size(int dim) const { return shape_[normalize_dim(dim, shape_.ndim(), "size")]; }
  int ndim() const { return shape_.ndim(); }
  Dim numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device{}; }
  Exec exec() const { return {device()}; }
  const std::array<Dim, kMaxDims>& strides() const { return stride_; }
  bool contiguous() const {
    const ConstView view = *this;
    return view.contiguous();
  }

  // Views of the same storage.
  Array transpose(int a, int b) const;
  // Dimension d of the result is order[d] of this array.
  Array permute(std::span<const int> order) const;
  Array permute(std::initializer_list<int> order) const { return permute({order.begin(), order.size()}); }
  Array slice(int dim, Dim begin, Dim end) const;
  Array select(int dim, Dim index) const;  // drops the dimension
  Array expand(const Shape& shape) const;  // repeats dimensions of size 1 and new leading ones
  // A view where the strides allow it, otherwise a copy. One size may be -1.
  Array reshape(std::initializer_list<Dim> sizes) const;
  Array reshape(const Shape& shape) const;
  Array as_rows() const { return reshape(shape_.as_rows()); }  // (…, C) as (R, C)

  // This array if it is row-major without gaps, otherwise such a copy.
  Array as_contiguous() const;
  Array clone() const;
  Array to(DType dtype) const;    // this array if it already has the dtype
  Array to(Device device) const;  // this array if it is there already (or undefined)

  // Pointer to the first element, on the host; InputError unless the dtype is T's. Writing through it does not mark the storage
  // as changed: do so only before others use the array.
  template <class T>
  T* data() const;
  // All values in row-major order, converted; waits for the device.
  template <class T>
  std::vector<T> to_vector() const;
  // The value of an array of one element; waits for the device.
  double item() const;

  operator ConstView() const { return {pointer(), dtype_, shape_, stride_, device()}; }
  // For writing; marks the storage as changed.
  operator View() const;

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  // True when nothing else shares the storage and the array is more than half of it, row by row: its memory may be reused.
  bool owns_alone() const {
    return storage_.use_count() == 1 && contiguous() &&
           2 * static_cast<std::size_t>(numel()) * size_of(dtype_) > storage_->bytes();
  }

 private:
  void* pointer() const {
    return storage_ ? storage_->data() + static_cast<std::size_t>(offset_) * size_of(dtype_) : nullptr;
  }
  std::shared_ptr<Storage> storage_;
  Dim offset_ = 0;  // elements
  DType dtype_ = DType::f32;
  Shape shape_;
  std::array<Dim, kMaxDims> stride_{};
};

// Copies values between arrays of one shape, converting the dtype, whatever the strides and the devices.
void copy(const Array& from, const Array& to);
inline Array empty_like(const Array& a) { return Array::empty(a.shape(), a.dtype(), a.device()); }

template <class T>
T* Array::data() const {
  ASHLAR_CHECK(defined(), "array: an undefined array has no data");
  ASHLAR_CHECK(device().type == DeviceType::cpu, "array: the values are on ", device(),
               "; bring them to the host first with to(Device{})");
  ASHLAR_CHECK(dtype_ == dtype_of<T>(), "array: asked for ", dtype_of<T>(), " values of an array of ", dtype_);
  return static_cast<T*>(pointer());
}

template <class T>
Array Array::from(std::span<const T> values, const Shape& shape) {
  ASHLAR_CHECK(static_cast<Dim>(values.size()) == shape.numel(), "array: ", values.size(), " values given for shape ",
               shape);
  Array result = empty(shape, dtype_of<T>());
  if (!values.empty()) std::memcpy(result.pointer(), values.data(), values.size_bytes());
  return result;
}

template <class T>
std::vector<T> Array::to_vector() const {
  const Array source = to(Device{}).to(dtype_of<T>()).as_contiguous();
  const T* begin = source.data<T>();
  return std::vector<T>(begin, begin + source.numel());
}

}  // namespace ashlar
