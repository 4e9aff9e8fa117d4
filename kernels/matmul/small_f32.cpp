#include "kernels/matmul/small_f32.h"

#include "kernels/matmul/parts.h"
#include "kernels/small_gemm/small_gemm.h"

namespace ashlar::kernels::products {

bool is_small_f32(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 13;  // of b
  const bool f32 = p.a.dtype == DType::f32 && p.b.dtype == DType::f32 && p.y.dtype == DType::f32;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y)) && (by_rows(p.a) || by_columns(p.a));
  return f32 && rows && p.m() >= 16 && p.k() > 0 && p.k() <= SmallGemm<float>::kRun && p.k() * p.n() <= kMostValues;
}

void matmul_small_f32(const Problem& p) {
  const bool transposed = !by_rows(p.a);
  const auto multiply = [&](Dim batch, Dim begin, Dim end) {
    const SmallGemm<float> gemm{.m = end - begin, .n = p.n(), .k = p.k(), .lda = p.a.step(transposed ? -1 : -2),
                                .ldb = p.b.step(-2), .ldc = p.y.step(-2), .trans_a = transposed,
                                .accumulate = p.options.accumulate, .bias = bias_of(p, batch), .prefetch = true};
    gemm(p.a.as<float>() + batch_offset(p.a, batch) + begin * p.a.step(-2), p.b.as<float>() + batch_offset(p.b, batch),
         p.y.as<float>() + batch_offset(p.y, batch) + begin * p.y.step(-2));
  };
  multiply_in_parts(p, [&] { return multiply; });
}

}  // namespace ashlar::kernels::products
