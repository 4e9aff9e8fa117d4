// What kernels that work tile by tile share: scratch memory and copies that convert.
#pragma once
#include <algorithm>
#include <cstring>

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

// to = factor * from for a tile of rows whose values are contiguous.
template <class From, class To>
void copy_tile(const From* from, Dim ld_from, To* to, Dim ld_to, Dim rows, Dim columns, accumulate_t<To> factor = 1) {
  for (Dim r = 0; r < rows; ++r) {
    const From* source = from + r * ld_from;
    To* target = to + r * ld_to;
    if constexpr (std::is_same_v<From, To>) {
      if (factor == 1) {
        std::memcpy(target, source, static_cast<std::size_t>(columns) * sizeof(To));
        continue;
      }
    }
    for (Dim c = 0; c < columns; ++c) target[c] = convert<To>(factor * convert<accumulate_t<To>>(source[c]));
  }
}

}  // namespace ashlar::kernels
