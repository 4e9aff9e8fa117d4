// Checks that every device makes: of shapes and dtypes, not of the values of the ids.
#pragma once
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels {

// table (V, C), rows (N, C), ids (N); `operation` starts the message.
inline void check_embedding(std::string_view operation, const ConstView& table, const ConstView& ids,
                            const ConstView& rows) {
  const bool matrices = table.shape.ndim() == 2 && rows.shape.ndim() == 2;
  ASHLAR_CHECK(matrices && table.size(1) == rows.size(1) && ids.shape == Shape{rows.size(0)}, operation, ": table ",
               table.shape, ", ids ", ids.shape, " and rows ", rows.shape, " must be (V, C), (N) and (N, C)");
  const bool dense = table.size(1) == 1 || (table.step(1) == 1 && rows.step(1) == 1);
  ASHLAR_CHECK(dense, operation, ": the last dimensions of table ", table.shape, " and rows ", rows.shape,
               " must be contiguous");
  ASHLAR_CHECK(ids.dtype == DType::i32, operation, ": ids must be i32, got ", ids.dtype);
}

inline void check_embedding_gradient(const ConstView& dy, const ConstView& dtable) {
  ASHLAR_CHECK(dtable.dtype == master_dtype(dy.dtype), "embedding_backward: dtable must be ", master_dtype(dy.dtype),
               " for dy ", dy.dtype, ", got ", dtable.dtype);
}

}  // namespace ashlar::kernels
