// How the small products of a batch, of bf16 or f32, are shared among the threads.
#pragma once
#include <algorithm>

#include "core/parallel.h"
#include "kernels/matmul/problem.h"
#include "kernels/rounding.h"

namespace ashlar::kernels::products {

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
