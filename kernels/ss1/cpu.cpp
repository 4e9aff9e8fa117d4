// SS1 on the CPU. With one sketch the products are those of whole matrices; with several, the sketches of a tile of rows, which
// are wider than the rows, stay in the cache.
#include <optional>

#include "core/parallel.h"
#include "kernels/blocks/range_sums.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/column_sums.h"
#include "kernels/ss1/composed.h"
#include "kernels/ss1/sketch_sums.h"
#include "kernels/ss1/ss1.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace kernels::ss1;

constexpr Dim kCacheBytes = 512 * 1024;

// Rows that are worth a second thread.
Dim grain(const Sizes& s) { return std::max<Dim>(1, (1 << 14) / std::max<Dim>(1, s.features * s.sketches)); }

Dim row_bytes(const Sizes& s, DType dtype) { return s.sketches * s.width() * static_cast<Dim>(size_of(dtype)); }

// Weights z (m, G B) as (count, outputs, G B): those of a run of classes.
template <class AnyView>
AnyView class_weights(const AnyView& z, const Side& classes, const BlockRun& run) {
  return strided(z, run.first * classes.length * z.step(0), {run.count, run.outputs, z.size(1)},
                 {classes.length * z.step(0), z.step(0), z.step(1)});
}

// The sketches (H, rows, G B) of a tile: rows of u, or of an array (rows, H, G B) of its own.
template <class AnyView>
AnyView rows_of_sketches(const AnyView& u, Dim begin, Dim rows) {
  return strided(u, begin * u.step(1), {u.size(0), rows, u.size(2)}, {u.step(0), u.step(1), 1});
}
View own_sketches(const Sizes& s, const Array& rows) {
  return strided(View(rows), 0, {s.sketches, rows.size(0), s.width()}, {s.width(), s.sketches * s.width(), 1});
}

void forward_tiles(const Exec& exec, const Sizes& s, const SketchSums& sketch, const ConstView& x, const ConstView& z,
                   const ConstView& bias, const View& u, const View& y) {
  const Side classes = classes_of(s.sketches, z.size(0));
  const Operand weights = Operand::transposed(exec, z, x.dtype, s.rows);
  const ConstView by_class = transposed(weights.view());
  const Tiles tiles = Tiles::shared(s.rows, row_bytes(s, x.dtype), kCacheBytes);
  parallel_items(tiles.count, [&](Dim tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.length(tile);
    const ConstView x_tile = rows_of(x, begin, rows);
    const View y_tile = rows_of(y, begin, rows);
    const Array own = u ? Array() : Array::empty({rows, s.sketches * s.width()}, x.dtype);
    const View u_tile = u ? rows_of_sketches(u, begin, rows) : own_sketches(s, own);
    sketch(x.dtype, rows, x_tile.data, x.step(0), u_tile.data, u_tile.step(1));
    for (const BlockRun& run : runs_of(classes)) {
      matmul(exec, rows_of(ConstView(u_tile), run.first, run.count), transposed(class_weights(by_class, classes, run)),
             block_columns(y_tile, classes, run, run.outputs), {.bias = block_bias(bias, classes, run, run.outputs)});
    }
  });
}

struct BackwardCall {
  ConstView dy, x, u, z;
  View dx, dz, dbias;
};

void backward_tiles(const Exec& exec, const Sizes& s, const std::optional<SketchSums>& sketch, const SketchSums& spread,
                    const BackwardCall& call) {
  const Side classes = classes_of(s.sketches, call.z.size(0));
  const Operand weights(exec, call.z, call.dy.dtype);
  const RowRanges ranges(s.rows);
  const RangeSums dz(call.dz, ranges.count), dbias(call.dbias, ranges.count);
  const auto tile = [&](const RangeTile& t) {
    const auto [range, begin, rows, next_rows, accumulate] = t;
    const ConstView dy = rows_of(call.dy, begin, rows);
    if (dbias) sums::column_sums(dy, accumulate, dbias.at(range));
    const Array own = Array::empty({rows, s.sketches * s.width()}, dy.dtype);  // sketches first, then their gradients
    const View own_tile = own_sketches(s, own);
    if (sketch) {
      const ConstView x = rows_of(call.x, begin, rows);
      (*sketch)(x.dtype, rows, x.data, x.step(0), own_tile.data, own_tile.step(1));
    }
    const ConstView u = call.u ? rows_of_sketches(call.u, begin, rows) : ConstView(own_tile);
    for (const BlockRun& run : runs_of(classes)) {
      const ConstView dy_run = block_columns(dy, classes, run, run.outputs);
      if (dz) {
        matmul(exec, transposed(dy_run), rows_of(u, run.first, run.count), class_weights(dz.view(range), classes, run),
               {.accumulate = accumulate});
      }
      if (!call.dx) continue;
      matmul(exec, dy_run, class_weights(weights.view(), classes, run), rows_of(own_tile, run.first, run.count), {});
    }
    if (!call.dx) return;
    const View du = own_tile, dx = rows_of(call.dx, begin, rows);
    spread(dx.dtype, rows, du.data, du.step(1), dx.data, dx.step(0));
  };
  for_tiles(ranges, row_bytes(s, call.dy.dtype), kCacheBytes, tile);
  dz.add_up();
  dbias.add_up();
}

}  // namespace

void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u) {
  const Sizes s = check("ss1_sketch", x, u, shift, sign);
  const SketchSums sums = SketchSums::forward("ss1_sketch", s, shift, sign, u.step(0));
  parallel_for(s.rows, grain(s), [&](Dim begin, Dim end) {
    sums(x.dtype, end - begin, advance(x.data, x.dtype, begin * x.step(0)), x.step(0),
         advance(u.data, u.dtype, begin * u.step(1)), u.step(1));
  });
}

void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx) {
  const Sizes s = check("ss1_sketch_backward", dx, du, shift, sign);
  const SketchSums sums = SketchSums::backward("ss1_sketch_backward", s, shift, sign, du.step(0));
  parallel_for(s.rows, grain(s), [&](Dim begin, Dim end) {
    sums(dx.dtype, end - begin, advance(du.data, du.dtype, begin * du.step(1)), du.step(1),
         advance(dx.data, dx.dtype, begin * dx.step(0)), dx.step(0));
  });
}

void ss1_forward(const Exec& exec, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                 View y) {
  const Sizes s = check_layer("ss1_forward", x, shift, sign, z, bias, u, y);
  if (s.sketches == 1) return compose_forward(exec, x, shift, sign, z, bias, u, y);
  const SketchSums sketch = SketchSums::forward("ss1_forward", s, shift, sign, u ? u.step(0) : s.width());
  forward_tiles(exec, s, sketch, x, z, bias, u, y);
}

void ss1_backward(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z,
                  View dx, View dz, View dbias) {
  const Sizes s = check_layer_gradients("ss1_backward", dy, x, u, shift, sign, z, dx, dz, dbias);
  if (s.sketches == 1 || s.rows == 0) return compose_backward(exec, dy, x, u, shift, sign, z, dx, dz, dbias);
  std::optional<SketchSums> sketch;  // to make u again
  if (dz && !u) sketch = SketchSums::forward("ss1_backward", s, shift, sign, s.width());
  const SketchSums spread = SketchSums::backward("ss1_backward", s, shift, sign, s.width());
  backward_tiles(exec, s, sketch, spread, {dy, x, u, z, dx, dz, dbias});
}

}  // namespace ashlar::kernels::cpu
