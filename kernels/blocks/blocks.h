// What the structured matrices share: weights as operands of products with features in blocks, and the cutting of a
// call's rows into tiles.
#pragma once
#include <algorithm>

#include "core/array.h"
#include "kernels/blocks/views.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels {

// Weights (blocks, K, N) as the products with rows of features take them: in the dtype of the activations.
class Operand {
 public:
  Operand(const Exec& exec, const ConstView& weights, DType dtype) : view_(weights) {
    if (weights && weights.dtype != dtype) convert(exec, dtype);
  }
  // From weights given as (blocks, N, K): many rows are worth transposing them once, which makes each product faster.
  static Operand transposed(const Exec& exec, const ConstView& weights, DType dtype, Dim rows) {
    if (!weights) return Operand(exec, weights, dtype);
    Operand operand(exec, kernels::transposed(weights), dtype);
    if (rows >= 256 && !operand.converted_.defined()) operand.convert(exec, dtype);
    return operand;
  }
  const ConstView& view() const { return view_; }

 private:
  void convert(const Exec& exec, DType dtype) {
    converted_ = Array::empty(view_.shape, dtype);
    cast(exec, view_, converted_);
    view_ = converted_;
  }
  Array converted_;
  ConstView view_;
};

// Rows cut into tiles by their number and size alone: what a tile keeps, `row_bytes` for each row, should fit
// `cache_bytes`, but short tiles make slow products.
struct Tiles {
  Dim rows, size, count;
  Tiles(Dim rows_, Dim row_bytes, Dim cache_bytes)
      : Tiles(rows_, std::clamp<Dim>(cache_bytes / row_bytes / 16 * 16, 64, 256)) {}
  // For tiles that threads share among them: shorter ones where there are few rows.
  static Tiles shared(Dim rows, Dim row_bytes, Dim cache_bytes) {
    const Dim enough = std::max<Dim>(32, round_up(ceil_div(rows, 16), 16));
    return {rows, std::min(Tiles(rows, row_bytes, cache_bytes).size, enough)};
  }
  Dim begin(Dim tile) const { return tile * size; }
  Dim length(Dim tile) const { return std::min(size, rows - begin(tile)); }

 private:
  Tiles(Dim rows_, Dim size_) : rows(rows_), size(size_), count(ceil_div(rows_, size_)) {}
};

// Brings rows without gaps between their values into the cache, in the order in which memory gives them fastest. By reading
// them: prefetching was measured to do nothing here, perhaps because it is dropped for pages not known yet.
inline void read_in_order(const ConstView& rows) {
  const Dim value = static_cast<Dim>(size_of(rows.dtype)), bytes = rows.size(1) * value;
  for (Dim r = 0; r < rows.size(0); ++r) {
    const auto* const row = static_cast<const volatile std::byte*>(rows.data) + r * rows.step(0) * value;
    for (Dim at = 0; at < bytes; at += 64) static_cast<void>(row[at]);
  }
}

// The same for the features of a tile before products of its blocks, which take a piece of each row after the other: where
// the pieces are so short that the processor does not see where they lead.
inline void read_before_blocks(const Side& side, const ConstView& features, Dim short_bytes = 256) {
  if (side.length * static_cast<Dim>(size_of(features.dtype)) <= short_bytes) read_in_order(features);
}

}  // namespace ashlar::kernels
