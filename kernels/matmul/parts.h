// How the products by kernels of our own are shared among the threads, and what a thread multiplies of those in f32 and f64.
#pragma once
#include <algorithm>

#include "core/parallel.h"
#include "core/rounding.h"
#include "kernels/matmul/problem.h"
#include "kernels/small_gemm/small_gemm.h"

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

// Rows [begin, end) and `columns` columns from `column` on of a product of a batch: b and y by rows, a by rows or by columns.
template <class T>
void multiply_part(const Problem& p, Dim batch, Dim begin, Dim end, Dim column, Dim columns) {
  const bool transposed = !by_rows(p.a);
  const T* const bias = bias_of<T>(p, batch);
  const SmallGemm<T> gemm{.m = end - begin, .n = columns, .k = p.k(), .lda = p.a.step(transposed ? -1 : -2),
                          .ldb = p.b.step(-2), .ldc = p.y.step(-2), .trans_a = transposed,
                          .accumulate = p.options.accumulate, .bias = bias ? bias + column : nullptr, .prefetch = true};
  gemm(p.a.as<T>() + batch_offset(p.a, batch) + begin * p.a.step(-2), p.b.as<T>() + batch_offset(p.b, batch) + column,
       p.y.as<T>() + batch_offset(p.y, batch) + begin * p.y.step(-2) + column);
}

}  // namespace ashlar::kernels::products
