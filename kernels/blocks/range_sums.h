// Sums over rows that do not depend on the number of threads: the rows are cut into ranges by their count alone, every
// range has a sum of its own, and these are added in order. A single range, of fewer than 256 rows, has all threads inside its
// products; there the library may cut the inner dimension by their number (seen in bf16).
#pragma once

#include "core/parallel.h"
#include "core/view.h"
#include "kernels/blocks/blocks.h"
#include "kernels/scratch.h"

namespace ashlar::kernels {

// At most 16 ranges of 512 rows or more; where that would be fewer than four, up to four of 128 rows or more, so that
// threads have something to share. One, maybe empty, for fewer.
struct RowRanges {
  Dim rows, count;
  explicit RowRanges(Dim rows_)
      : rows(rows_), count(std::clamp<Dim>(std::max(rows_ / 512, std::min<Dim>(rows_ / 128, 4)), 1, 16)) {}
  Dim begin(Dim range) const { return rows * range / count; }
};

// Some rows of a range, and how many the tile after it has, 0 if it is the last. All but the first tile accumulate.
struct RangeTile {
  Dim range, begin, rows, next_rows;
  bool accumulate;
};

// Calls body(tile) for the tiles of all ranges: those of a range in order, on one thread.
template <class Body>
void for_tiles(const RowRanges& ranges, Dim row_bytes, Dim cache_bytes, Body&& body) {
  parallel_items(ranges.count, [&](Dim range) {
    const Dim begin = ranges.begin(range);
    const Tiles tiles(ranges.begin(range + 1) - begin, row_bytes, cache_bytes);
    for (Dim i = 0; i < tiles.count; ++i) {
      const Dim next_rows = i + 1 < tiles.count ? tiles.length(i + 1) : 0;
      body(RangeTile{range, begin + tiles.begin(i), tiles.length(i), next_rows, i > 0});
    }
  });
}

// A sum of the master type for each range.
class RangeSums {
 public:
  // `target` is contiguous and receives the result; if it is absent, nothing is kept.
  RangeSums(const View& target, Dim ranges)
      : target_(target),
        ranges_(ranges),
        size_(target ? target.numel() : 0),
        bytes_(size_ * static_cast<Dim>(size_of(target.dtype))),
        more_((ranges - 1) * bytes_) {}

  explicit operator bool() const { return size_ > 0; }
  // The sum of a range, for the caller to set and to add to; the first one is the target itself.
  void* at(Dim range) const { return range == 0 ? target_.data : more_.data() + (range - 1) * bytes_; }
  View view(Dim range) const {
    View v = target_;
    if (v) v.data = at(range);
    return v;
  }

  void add_up() const {
    if (target_.dtype == DType::f64) add_up_typed<double>();
    else add_up_typed<float>();
  }

 private:
  template <class C>
  void add_up_typed() const {
    parallel_for(size_, 1 << 12, [&](Dim begin, Dim end) {
      C* const sum = static_cast<C*>(at(0));
      for (Dim range = 1; range < ranges_; ++range) {
        const C* const more = static_cast<const C*>(at(range));
        for (Dim i = begin; i < end; ++i) sum[i] += more[i];
      }
    });
  }

  View target_;
  Dim ranges_, size_, bytes_;
  Scratch<std::byte> more_;  // of the ranges after the first
};

}  // namespace ashlar::kernels
