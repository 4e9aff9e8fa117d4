// Sums over rows that do not depend on the number of threads: the rows are cut into ranges by their count alone, every
// range has a sum of its own, and these are added in order.
#pragma once
#include "core/parallel.h"
#include "core/view.h"
#include "kernels/blocks/blocks.h"
#include "kernels/scratch.h"

namespace ashlar::kernels {

// At most `most` ranges of 512 rows or more; where that would be fewer than four, up to four of 128 rows or more, so that
// threads have something to share. One, maybe empty, for fewer.
struct RowRanges {
  Dim rows, count;
  RowRanges(Dim rows_, Dim most)
      : rows(rows_), count(std::clamp<Dim>(std::max(rows_ / 512, std::min<Dim>(rows_ / 128, 4)), 1, most)) {}
  Dim begin(Dim range) const { return rows * range / count; }
};

// Calls body(range, begin, rows, accumulate) for the tiles of all ranges: those of a range in order, on one thread; all but its
// first accumulate.
template <class Body>
void for_tiles(const RowRanges& ranges, Dim row_bytes, Dim cache_bytes, Body&& body) {
  parallel_items(ranges.count, [&](Dim range) {
    const Dim begin = ranges.begin(range);
    const Tiles tiles(ranges.begin(range + 1) - begin, row_bytes, cache_bytes);
    for (Dim i = 0; i < tiles.count; ++i) body(range, begin + tiles.begin(i), tiles.length(i), i > 0);
  });
}

template <class C>
class RangeSums {
 public:
  // `target` is contiguous and receives the result; if it is absent, nothing is kept.
  RangeSums(const View& target, Dim ranges)
      : target_(target),
        ranges_(ranges),
        size_(target ? target.numel() : 0),
        storage_((ranges - 1) * size_),
        more_(storage_.take(0)) {}

  explicit operator bool() const { return size_ > 0; }
  // The sum of a range, for the caller to set and to add to; the first one is the target itself.
  C* at(Dim range) const { return range == 0 ? target_.template as<C>() : more_ + (range - 1) * size_; }
  View view(Dim range) const {
    View v = target_;
    if (v) v.data = at(range);
    return v;
  }

  void add_up() const {
    parallel_for(size_, 1 << 12, [&](Dim begin, Dim end) {
      C* const sum = at(0);
      for (Dim range = 1; range < ranges_; ++range) {
        const C* const more = at(range);
        for (Dim i = begin; i < end; ++i) sum[i] += more[i];
      }
    });
  }

 private:
  View target_;
  Dim ranges_, size_;
  Scratch<C> storage_;
  C* more_;
};

}  // namespace ashlar::kernels
