// What the small products of bf16 or f32 have in common: what of them a thread can pack for itself, and how those of a batch are
// shared among the threads.
#pragma once
#include <algorithm>

#include "core/parallel.h"
#include "kernels/matmul/problem.h"
#include "kernels/rounding.h"

namespace ashlar::kernels::products {

// Whether a thread may pack b for itself: of bf16 by rows, and small enough to stay in the second-level cache.
inline bool can_pack_pairs(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 16;
  const bool bf16 = p.a.dtype == DType::bf16 && p.b.dtype == DType::bf16;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y));
  return bf16 && rows && p.k() > 0 && p.k() <= 1024 && p.k() * p.n() <= kMostValues;
}

// Runs of `rows` rows of a batch's products, shared among the threads: each calls multiply(batch, first row, row after the
// last) of a multiply = make() of its own, for products one after the other.
template <class Make>
void multiply_in_parts(const Problem& p, const Make& make, Dim rows = 48) {
  constexpr Dim kWorthAThread = Dim{1} << 19;
  const Dim chunks = ceil_div(p.m(), rows);
  const Dim grain = std::max<Dim>(1, kWorthAThread / (rows * p.n() * p.k()));
  parallel_for(batch_shape(p.y).numel() * chunks, grain, [&](Dim begin, Dim end) {
    auto multiply = make();
    while (begin < end) {
      const Dim batch = begin / chunks, last = std::min(end, (batch + 1) * chunks);
      multiply(batch, begin % chunks * rows, std::min(p.m(), (last - batch * chunks) * rows));
      begin = last;
    }
  });
}

}  // namespace ashlar::kernels::products
