// Checks of an embedding's operands: of shapes and dtypes on every device, of the ids' values where the host sees them.
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

// ids (N) in host memory.
inline void check_ids(std::string_view operation, Dim vocabulary, const ConstView& ids) {
  for (Dim n = 0; n < ids.size(0); ++n) {
    const Dim id = ids.as<std::int32_t>()[n * ids.step(0)];
    ASHLAR_CHECK(id >= 0 && id < vocabulary, operation, ": id ", id, " at position ", n, " is outside [0, ", vocabulary,
                 ")");
  }
}

inline void check_embedding_gradient(const ConstView& dy, const ConstView& dtable) {
  ASHLAR_CHECK(dtable.dtype == master_dtype(dy.dtype), "embedding_backward: dtable must be ", master_dtype(dy.dtype),
               " for dy ", dy.dtype, ", got ", dtable.dtype);
}

}  // namespace ashlar::kernels
