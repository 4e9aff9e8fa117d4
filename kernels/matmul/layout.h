// How a matrix inside a view is described to a library.
#pragma once
#include <optional>

#include "kernels/matmul/problem.h"

namespace ashlar::kernels::products {

// The last two dimensions of a view, (rows, columns), in memory: by rows (neighbours in a row are contiguous) or by
// columns, `ld` elements from one to the next.
struct MatrixLayout {
  bool by_rows;
  Dim ld;
};

// Nothing if neither rows nor columns are contiguous. Strides of a dimension of size 1 do not matter.
inline std::optional<MatrixLayout> matrix_layout(const ConstView& v) {
  const Dim rows = v.size(-2), columns = v.size(-1);
  if ((columns == 1 || v.step(-1) == 1) && (rows == 1 || v.step(-2) >= columns)) {
    return MatrixLayout{true, rows == 1 ? columns : v.step(-2)};
  }
  if ((rows == 1 || v.step(-2) == 1) && (columns == 1 || v.step(-1) >= rows)) {
    return MatrixLayout{false, columns == 1 ? rows : v.step(-1)};
  }
  return std::nullopt;
}

// The problem without batch dimensions of size 1, and with neighbours merged where all three operands allow it.
inline Problem merged_batches(Problem p) {
  for (int d = p.batch_dims() - 1; d >= 0; --d) {
    if (p.y.size(d) == 1) p = select(p, d, 0);
  }
  for (int d = p.batch_dims() - 2; d >= 0; --d) {
    const Dim inner = p.y.size(d + 1);
    const auto merges = [&](const auto& v) { return v.step(d) == v.step(d + 1) * inner; };
    if (!merges(p.a) || !merges(p.b) || !merges(p.y)) continue;
    const auto merge = [&](auto v) {
      auto result = v;
      result.shape = v.shape.without(d).with(d, v.size(d) * v.size(d + 1));
      std::copy(v.stride.begin() + d + 1, v.stride.end(), result.stride.begin() + d);
      return result;
    };
    p = {merge(p.a), merge(p.b), merge(p.y), p.options};
  }
  return p;
}

}  // namespace ashlar::kernels::products
