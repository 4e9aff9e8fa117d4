// Features in two levels of blocks, the levels exchanged, row by row: work for the cache.
#pragma once
#include <cstring>

#include "core/view.h"

namespace ashlar::kernels {

// from (R, blocks, others, run) -> to (R, others, blocks, run); the values of a row have no gaps.
inline void regroup(const ConstView& from, Dim blocks, Dim others, Dim run, const View& to) {
  const Dim value = static_cast<Dim>(size_of(from.dtype)), bytes = run * value;
  for (Dim row = 0; row < from.size(0); ++row) {
    const auto* const source = static_cast<const std::byte*>(from.data) + row * from.step(0) * value;
    auto* const target = static_cast<std::byte*>(to.data) + row * to.step(0) * value;
    for (Dim i = 0; i < blocks; ++i) {
      for (Dim o = 0; o < others; ++o) {
        std::memcpy(target + (o * blocks + i) * bytes, source + (i * others + o) * bytes, static_cast<std::size_t>(bytes));
      }
    }
  }
}

}  // namespace ashlar::kernels
