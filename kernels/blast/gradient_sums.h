// Sums of weight gradients over rows, grouped so that they do not depend on the number of threads: the rows are cut
// into ranges by their count alone, every range has partial sums of its own, and those are added in order.
#pragma once
#include <optional>
#include <vector>

#include "kernels/blast/plan.h"

namespace ashlar::kernels::blast {

template <class T>
class GradientSums {
 public:
  GradientSums(Dim rows, const Chunks& chunks)
      : ranges_(std::clamp<Dim>(rows / kRangeRows, 1, kMaxRanges)), rows_(rows), chunks_(chunks) {}

  // Adds a gradient of `features` rows of the rank to what is summed; the number by which at() names it. The target
  // (…, r) may have more rows (padding, set to zero) or be absent (nothing is kept).
  int add(const View& target, Dim features) {
    const Dim count = target ? features : 0;
    parts_.push_back({target, count, size_});
    size_ += Scratch<T>::padded(count * chunks_.padded_rank());
    return static_cast<int>(parts_.size()) - 1;
  }
  void allocate() { storage_.emplace(ranges_ * size_); data_ = storage_->take(0); }

  // Calls body(range, first row, last row) for all ranges in parallel.
  template <class Body>
  void for_ranges(Body&& body) const {
    parallel_items(ranges_, [&](Dim range) { body(range, rows_ * range / ranges_, rows_ * (range + 1) / ranges_); });
  }
  // Partial sums of a gradient: (features, padded width of the chunk).
  T* at(int part, Dim range, Dim chunk) const {
    const Part& p = parts_[static_cast<std::size_t>(part)];
    return data_ + range * size_ + p.offset + chunks_.begin(chunk) * p.features;
  }

  void store() const {
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      const Part& p = parts_[part];
      if (!p.target) continue;
      const Dim rank = chunks_.rank, features = p.target.numel() / rank;
      parallel_for(features, 16, [&](Dim begin, Dim end) {
        for (Dim f = begin; f < end; ++f) {
          T* const target = p.target.template as<T>() + f * rank;
          if (f >= p.features) {
            std::fill_n(target, rank, T{0});
            continue;
          }
          for (Dim chunk = 0; chunk < chunks_.count; ++chunk) {
            const Dim size = chunks_.size(chunk), row = f * chunks_.padded(chunk);
            T* const to = target + chunks_.begin(chunk);
            std::copy_n(at(static_cast<int>(part), 0, chunk) + row, size, to);
            for (Dim range = 1; range < ranges_; ++range) {
              const T* const more = at(static_cast<int>(part), range, chunk) + row;
              for (Dim k = 0; k < size; ++k) to[k] += more[k];
            }
          }
        }
      });
    }
  }

 private:
  static constexpr Dim kRangeRows = 512, kMaxRanges = 16;
  struct Part {
    View target;
    Dim features, offset;
  };
  Dim ranges_, rows_;
  Chunks chunks_;
  std::vector<Part> parts_;
  Dim size_ = 0;
  std::optional<Scratch<T>> storage_;
  T* data_ = nullptr;
};

}  // namespace ashlar::kernels::blast
