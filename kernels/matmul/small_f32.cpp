#include "kernels/matmul/small_f32.h"

#include "kernels/matmul/parts.h"

namespace ashlar::kernels::products {

bool is_small_f32(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 13;  // of b
  const bool f32 = p.a.dtype == DType::f32 && p.b.dtype == DType::f32 && p.y.dtype == DType::f32;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y)) && (by_rows(p.a) || by_columns(p.a));
  return f32 && rows && p.m() >= 16 && p.k() > 0 && p.k() <= SmallGemm<float>::kRun && p.k() * p.n() <= kMostValues;
}

void matmul_small_f32(const Problem& p) {
  multiply_in_parts(p, [&] {
    return [&](Dim batch, Dim begin, Dim end) { multiply_part<float>(p, batch, begin, end, 0, p.n()); };
  });
}

}  // namespace ashlar::kernels::products
