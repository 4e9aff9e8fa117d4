// Prefetching rows into the caches for products of their blocks, which read a piece of each row after the other.
#pragma once
#include <cstddef>

#include <hwy/cache_control.h>

#include "core/rounding.h"
#include "core/view.h"
#include "kernels/side.h"

namespace ashlar::kernels::blast {

constexpr Dim kLineBytes = 64;

// Reads rows without gaps between their values in the order in which memory gives them fastest. Prefetching them all at
// once was measured to do nothing, perhaps because there is room for few fetches at a time.
inline void read_in_order(const ConstView& rows) {
  const Dim value = static_cast<Dim>(size_of(rows.dtype)), bytes = rows.size(1) * value;
  for (Dim r = 0; r < rows.size(0); ++r) {
    const auto* const row = static_cast<const volatile std::byte*>(rows.data) + r * rows.step(0) * value;
    for (Dim at = 0; at < bytes; at += kLineBytes) static_cast<void>(row[at]);
  }
}

// Whether the pieces of rows that a side's blocks take are so short that the processor does not see where they lead.
inline bool takes_short_pieces(const Side& side, DType features, Dim short_bytes = 256) {
  return side.length * static_cast<Dim>(size_of(features)) <= short_bytes;
}
inline void read_before_blocks(const Side& side, const ConstView& features) {
  if (takes_short_pieces(side, features.dtype)) read_in_order(features);
}

// Fetches rows without gaps between their values in equal portions, while something else is computed.
class Fetch {
 public:
  Fetch(const ConstView& rows, Dim portions) {
    if (!rows || portions <= 0) return;
    const Dim value = static_cast<Dim>(size_of(rows.dtype));
    row_ = static_cast<const std::byte*>(rows.data);
    rows_ = rows.size(0);
    step_ = rows.step(0) * value;
    bytes_ = rows.size(1) * value;
    portion_ = ceil_div(rows_ * ceil_div(bytes_, kLineBytes), portions);
  }
  // The next portion.
  HWY_INLINE void operator()() {
    for (Dim i = 0; i < portion_ && rows_ > 0; ++i) {
      hwy::Prefetch(row_ + at_);
      at_ += kLineBytes;
      if (at_ < bytes_) continue;
      at_ = 0;
      row_ += step_;
      --rows_;
    }
  }

 private:
  const std::byte* row_ = nullptr;
  Dim rows_ = 0, step_ = 0, bytes_ = 0, portion_ = 0, at_ = 0;
};

}  // namespace ashlar::kernels::blast
