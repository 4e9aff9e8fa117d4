// Scratch memory of kernels that work tile by tile.
#pragma once
#include "core/allocator.h"
#include "core/dtype.h"
#include "kernels/rounding.h"

namespace ashlar::kernels {

// Memory for one work item, from the caching allocator (and so counted), cut into pieces of 64-byte alignment.
template <class T>
class Scratch {
 public:
  explicit Scratch(Dim count) : block_(allocator().allocate(static_cast<std::size_t>(count) * sizeof(T))) {}
  ~Scratch() { allocator().release(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Values that a piece of `count` takes up; the constructor wants the sum of these.
  static constexpr Dim padded(Dim count) { return round_up(count, 64 / static_cast<Dim>(sizeof(T))); }
  T* data() const { return static_cast<T*>(block_.data); }
  T* take(Dim count) {
    T* const piece = data() + used_;
    used_ += padded(count);
    return piece;
  }

 private:
  MemoryBlock block_;
  Dim used_ = 0;
};

}  // namespace ashlar::kernels
