// What kernels that work tile by tile share: features in blocks, scratch memory and copies that convert.
#pragma once
#include <algorithm>
#include <cstring>

#include "core/allocator.h"
#include "core/dtype.h"

namespace ashlar::kernels {

constexpr Dim round_up(Dim value, Dim multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr Dim ceil_div(Dim value, Dim divisor) { return (value + divisor - 1) / divisor; }

// One side of a matrix: `size` features in `blocks` blocks of `length`; the last ones may be short or empty.
struct Side {
  Dim size, blocks, length;
  Dim begin(Dim block) const { return std::min(size, block * length); }
  Dim count(Dim block) const { return std::min(size, (block + 1) * length) - begin(block); }
};

// Length of a tile's rows in scratch memory: an odd number of cache lines, so that the columns of a tile, which the
// weight gradients walk along, spread over all sets of the cache.
constexpr Dim line_of(Dim columns) { return (columns + 15) / 16 / 2 * 32 + 16; }

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
  T* take(Dim count) {
    T* const piece = static_cast<T*>(block_.data) + used_;
    used_ += padded(count);
    return piece;
  }

 private:
  MemoryBlock block_;
  Dim used_ = 0;
};

// to = scale * from for a tile of rows whose values are contiguous.
template <class From, class To>
void copy_tile(const From* from, Dim ld_from, To* to, Dim ld_to, Dim rows, Dim columns, accumulate_t<To> scale = 1) {
  for (Dim r = 0; r < rows; ++r) {
    const From* source = from + r * ld_from;
    To* target = to + r * ld_to;
    if constexpr (std::is_same_v<From, To>) {
      if (scale == 1) {
        std::memcpy(target, source, static_cast<std::size_t>(columns) * sizeof(To));
        continue;
      }
    }
    for (Dim c = 0; c < columns; ++c) target[c] = convert<To>(scale * convert<accumulate_t<To>>(source[c]));
  }
}

}  // namespace ashlar::kernels
