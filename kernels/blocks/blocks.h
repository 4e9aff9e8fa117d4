// What the structured matrices share: features in blocks, their products as batched matrix products, and the cutting of
// a call's rows into tiles.
#pragma once
#include <algorithm>

#include "core/array.h"
#include "kernels/block_views.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/views.h"

namespace ashlar::kernels {

// Calls body(run) for all blocks, a batch of products each: the full ones together, then the shorter ones.
template <class Body>
void for_runs(const Side& inputs, const Side& outputs, Body&& body) {
  for (const BlockPairRun& run : runs_of(inputs, outputs)) body(run);
}
template <class Body>
void for_runs(const Side& side, Body&& body) {
  for_runs(side, side, body);
}

// rows (R, features) -> (count, R, length): `length` features of each block of a run.
template <class AnyView>
AnyView block_columns(const AnyView& rows, const Side& side, const BlockPairRun& run, Dim length) {
  return strided(rows, run.first * side.length, {run.count, rows.size(0), length}, {side.length, rows.step(0), 1});
}

// weights (blocks, p, q) -> (count, rows, columns): the upper left part of each block of a run.
template <class AnyView>
AnyView block_weights(const AnyView& weights, const BlockPairRun& run, Dim rows, Dim columns) {
  return strided(weights, run.first * weights.step(0), {run.count, rows, columns},
                 {weights.step(0), weights.step(1), weights.step(2)});
}

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

// bias (features) -> (count, 1, length): the part that belongs to a run. An absent bias stays absent.
inline ConstView block_bias(const ConstView& bias, const Side& side, const BlockPairRun& run, Dim length) {
  if (!bias) return bias;
  return strided(bias, run.first * side.length, {run.count, 1, length}, {side.length, 0, 1});
}

// y = a b + bias for the blocks of a run.  a (count, R, K), b (count, K, N), y (count, R, N), bias (count, 1, N) or absent
void multiply_blocks(const Exec& exec, const ConstView& a, const ConstView& b, const ConstView& bias, const View& y);

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

}  // namespace ashlar::kernels
