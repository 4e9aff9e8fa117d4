// Block-diagonal products on tiles of rows: all blocks of a tile are one batched product, and the backward reads dy and x
// of a tile once for both products.
#include "core/parallel.h"
#include "kernels/block_diagonal/block_diagonal.h"
#include "kernels/block_diagonal/checks.h"
#include "kernels/blocks/products.h"
#include "kernels/blocks/range_sums.h"
#include "kernels/blocks/regroup.h"
#include "kernels/reduce/column_sums.h"

namespace ashlar::kernels::cpu {
namespace {

constexpr Dim kCacheBytes = 512 * 1024;

using namespace block_diagonal;

Dim row_bytes(const Sizes& p, DType dtype) { return (p.in.size + p.out.size) * static_cast<Dim>(size_of(dtype)); }

// Calls body(place of a feature among the shuffled ones, its place in x) for all of x.
template <class Body>
void for_shuffled(const Sizes& p, Body&& body) {
  Dim group = 0, channel = 0;
  for (Dim place = 0; place < p.features; ++place) {
    body(channel * p.in.blocks + group, place);
    if (++channel == p.in.length) channel = 0, ++group;
  }
}

// Where b divides q, the channels of a block are runs of q / b neighbours, one of each group of x, and its products may as
// well take them as (b, q / b) instead of (q / b, b), with the columns of the weights in that order too. Whether they do: it
// pays where there are more rows to move than weights.
bool takes_runs(const Sizes& p) {
  const bool divides = p.features > 0 && p.features == p.in.size && p.in.length % p.in.blocks == 0;
  return p.shuffle && divides && p.rows >= 2 * p.out.length;
}
Dim run_of(const Sizes& p) { return p.in.length / p.in.blocks; }

// to = weights (b, p, q) whose columns, seen as (outer, inner), become (inner, outer).
void exchange_columns(const ConstView& from, Dim outer, Dim inner, const View& to) {
  const Dim columns = outer * inner;
  dispatch_floating(from.dtype, "block_diagonal", [&]<class T>() {
    parallel_for(from.numel() / columns, (1 << 15) / columns + 1, [&](Dim begin, Dim end) {
      for (Dim row = begin; row < end; ++row) {
        const T* const source = from.as<T>() + row * columns;
        T* const target = to.as<T>() + row * columns;
        for (Dim i = 0; i < outer; ++i) {
          for (Dim k = 0; k < inner; ++k) target[k * outer + i] = source[i * inner + k];
        }
      }
    });
  });
}
// Weights as the blocks take them.
Array weights_of_runs(const Sizes& p, const ConstView& w) {
  const Array result = Array::empty(w.shape, w.dtype);
  exchange_columns(w, run_of(p), p.in.blocks, result);
  return result;
}

// x (R, n) -> (R, b q) as the blocks take it.
Array shuffled(const Sizes& p, const ConstView& x) {
  if (takes_runs(p)) {
    const Array result = Array::empty({x.size(0), p.in.size}, x.dtype);
    regroup(x, p.in.blocks, p.in.blocks, run_of(p), result);
    return result;
  }
  const Array result = Array::zeros({x.size(0), p.in.size}, x.dtype);
  dispatch_floating(x.dtype, "block_diagonal", [&]<class T>() {
    for (Dim r = 0; r < x.size(0); ++r) {
      const T* const from = x.as<T>() + r * x.step(0);
      T* const to = result.data<T>() + r * p.in.size;
      for_shuffled(p, [&](Dim block_place, Dim place) { to[block_place] = from[place]; });
    }
  });
  return result;
}

// The reverse: gradients of what the blocks took to where they are in dx.
void unshuffle(const Sizes& p, const Array& gradient, const View& dx) {
  if (takes_runs(p)) return regroup(gradient, p.in.blocks, p.in.blocks, run_of(p), dx);
  dispatch_floating(dx.dtype, "block_diagonal", [&]<class T>() {
    for (Dim r = 0; r < dx.size(0); ++r) {
      const T* const from = gradient.data<T>() + r * p.in.size;
      T* const to = dx.as<T>() + r * dx.step(0);
      for_shuffled(p, [&](Dim block_place, Dim place) { to[place] = from[block_place]; });
    }
  });
}

struct BackwardCall {
  ConstView dy, x, w;
  View dx, dw, dbias;
};

void backward_tiles(const Exec& exec, const Sizes& p, const BackwardCall& call) {
  const Array own_w = call.dx && takes_runs(p) ? weights_of_runs(p, call.w) : Array();
  const Array own_dw = call.dw && takes_runs(p) ? Array::empty(call.dw.shape, call.dw.dtype) : Array();
  const Operand weights(exec, own_w.defined() ? ConstView(own_w) : call.w, call.x.dtype);
  const RowRanges ranges(p.rows);
  const RangeSums dw(own_dw.defined() ? View(own_dw) : call.dw, ranges.count), dbias(call.dbias, ranges.count);
  const auto tile = [&](const RangeTile& t) {
    const auto [range, begin, rows, next_rows, accumulate] = t;
    const ConstView dy = rows_of(call.dy, begin, rows);
    ConstView x = rows_of(call.x, begin, rows);
    if (dbias) sums::column_sums(dy, accumulate, dbias.at(range));
    if (dw) {
      if (!accumulate) fill(dw.view(range), 0);  // the padding
      const Array own = p.shuffle ? shuffled(p, x) : Array();
      if (p.shuffle) x = own;
      block_gradients(exec, p.in, p.out, x, dy, accumulate, dw.view(range), {});
    }
    if (call.dx) {
      const View dx = rows_of(call.dx, begin, rows);
      const Array own = p.shuffle ? Array::empty({rows, p.in.size}, dx.dtype) : Array();
      multiply_blocks(exec, p.out, p.in, dy, weights.view(), {}, p.shuffle ? View(own) : dx);
      if (p.shuffle) unshuffle(p, own, dx);
    }
  };
  for_tiles(ranges, row_bytes(p, call.x.dtype), kCacheBytes, tile);
  dw.add_up();
  dbias.add_up();
  if (own_dw.defined()) exchange_columns(own_dw, p.in.blocks, run_of(p), call.dw);
}

}  // namespace

void block_diagonal_forward(const Exec& exec, ConstView x, ConstView w, ConstView bias, bool shuffle, View y) {
  const Sizes p = check("block_diagonal_forward", x, y, w, bias, shuffle);
  if (y.numel() == 0) return;
  const Array own_w = takes_runs(p) ? weights_of_runs(p, w) : Array();
  const Operand weights = Operand::transposed(exec, own_w.defined() ? ConstView(own_w) : w, x.dtype, p.rows);
  const Tiles tiles = Tiles::shared(p.rows, row_bytes(p, x.dtype), kCacheBytes);
  parallel_items(tiles.count, [&](Dim tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.length(tile);
    const Array own = shuffle ? shuffled(p, rows_of(x, begin, rows)) : Array();
    const ConstView x_tile = shuffle ? ConstView(own) : rows_of(x, begin, rows);
    multiply_blocks(exec, p.in, p.out, x_tile, weights.view(), bias, rows_of(y, begin, rows));
  });
}

void block_diagonal_backward(const Exec& exec, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias) {
  constexpr std::string_view operation = "block_diagonal_backward";
  const Sizes sizes = check(operation, x, dy, w, dbias, shuffle);
  check_gradients(x, w, dx, dw);
  if (sizes.rows == 0) return clear({dw, dbias});
  backward_tiles(exec, sizes, {dy, x, w, dx, dw, dbias});
}

}  // namespace ashlar::kernels::cpu
