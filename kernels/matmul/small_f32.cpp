#include "kernels/matmul/small_f32.h"

#include "core/parallel.h"
#include "kernels/small_gemm/small_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels::products {

bool is_small_f32(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 13;  // of b
  const bool f32 = p.a.dtype == DType::f32 && p.b.dtype == DType::f32 && p.y.dtype == DType::f32;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y)) && (by_rows(p.a) || by_columns(p.a));
  return f32 && rows && p.m() >= 16 && p.k() > 0 && p.k() <= SmallGemm<float>::kRun && p.k() * p.n() <= kMostValues;
}

void matmul_small_f32(const Problem& p) {
  constexpr Dim kRows = 48, kWorthAThread = Dim{1} << 19;
  const Dim chunks = ceil_div(p.m(), kRows);
  const Dim grain = std::max<Dim>(1, kWorthAThread / (kRows * p.n() * p.k()));
  const bool transposed = !by_rows(p.a);
  const SmallGemm<float> gemm{.n = p.n(), .k = p.k(), .lda = p.a.step(transposed ? -1 : -2), .ldb = p.b.step(-2),
                              .ldc = p.y.step(-2), .trans_a = transposed, .accumulate = p.options.accumulate, .prefetch = true};
  parallel_for(batch_shape(p.y).numel() * chunks, grain, [&](Dim begin, Dim end) {
    while (begin < end) {
      const Dim batch = begin / chunks, last = std::min(end, (batch + 1) * chunks);
      const Dim row = begin % chunks * kRows;
      SmallGemm<float> part = gemm;
      part.m = std::min(p.m(), (last - batch * chunks) * kRows) - row;
      part.bias = bias_of(p, batch);
      part(p.a.as<float>() + batch_offset(p.a, batch) + row * p.a.step(-2),
           p.b.as<float>() + batch_offset(p.b, batch), p.y.as<float>() + batch_offset(p.y, batch) + row * p.y.step(-2));
      begin = last;
    }
  });
}

}  // namespace ashlar::kernels::products
