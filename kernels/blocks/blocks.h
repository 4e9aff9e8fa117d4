// What the structured matrices share: weights as operands of products with features in blocks, and the cutting of a
// call's rows into tiles.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/array.h"
#include "kernels/blocks/views.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels {

// Weights (blocks, K, N) as the products with rows of features take them: in the dtype of the activations, rounded at once
// instead of in parts by all that reads them, and beginning at 16 bytes, which kernels of CUDA read together.
class Operand {
 public:
  Operand(const Exec& exec, const ConstView& weights, DType dtype) : view_(weights) {
    if (!weights || (weights.dtype == dtype && reinterpret_cast<std::uintptr_t>(weights.data) % 16 == 0)) return;
    converted_ = Array::empty(weights.shape, dtype, exec.device);
    cast(exec, weights, converted_);
    view_ = converted_;
  }
  // From weights given as (blocks, N, K), contiguous: many rows are worth transposing them once, which makes each product
  // faster.
  static Operand transposed(const Exec& exec, const ConstView& weights, DType dtype, Dim rows);
  const ConstView& view() const { return view_; }

 private:
  Operand() = default;
  Array converted_;
  ConstView view_;
};

// Rows cut into tiles of nearly equal length by their number and size alone: what a tile keeps, `row_bytes` for each row,
// should fit `cache_bytes`, but short tiles make slow products.
struct Tiles {
  Dim rows, size, count;
  Tiles(Dim rows_, Dim row_bytes, Dim cache_bytes)
      : Tiles(rows_, even(rows_, std::clamp<Dim>(cache_bytes / std::max<Dim>(row_bytes, 1) / 16 * 16, 64, 256))) {}
  // For tiles that threads share among them: shorter ones where there are few rows.
  static Tiles shared(Dim rows, Dim row_bytes, Dim cache_bytes) {
    const Dim enough = std::max<Dim>(32, round_up(ceil_div(rows, 16), 16));
    return {rows, std::min(Tiles(rows, row_bytes, cache_bytes).size, enough)};
  }
  Dim begin(Dim tile) const { return tile * size; }
  Dim length(Dim tile) const { return std::min(size, rows - begin(tile)); }

 private:
  static Dim even(Dim rows, Dim most) { return rows <= most ? most : round_up(ceil_div(rows, ceil_div(rows, most)), 16); }
  Tiles(Dim rows_, Dim size_) : rows(rows_), size(size_), count(ceil_div(rows_, size_)) {}
};

}  // namespace ashlar::kernels
