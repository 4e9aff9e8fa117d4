// Block-diagonal products, block by block on tiles of rows. The backward reads dy and x once for both products.
#include "core/parallel.h"
#include "kernels/block_diagonal/block_diagonal.h"
#include "kernels/block_diagonal/blocks.h"
#include "kernels/block_diagonal/problem.h"
#include "kernels/small_gemm/range_sums.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace block_diagonal;

constexpr Dim kTileRows = 64;

// Calls body(k, place in x) for the features of a block, in order; those of the padding are at places beyond x.
template <class Body>
void for_shuffled(const Problem& p, Dim block, Body&& body) {
  Dim group = p.in.begin(block) % p.in.blocks, channel = p.in.begin(block) / p.in.blocks;
  for (Dim k = 0; k < p.in.count(block); ++k) {
    body(k, group * p.in.length + channel);
    if (++group == p.in.blocks) group = 0, ++channel;
  }
}

// The features of a block of x, for a tile of rows.
template <class T, class C>
void gather(const Problem& p, Dim block, const T* x, Dim ld_x, Dim rows, C* to, Dim ld_to) {
  if (!p.shuffle) return copy_tile(x + p.in.begin(block), ld_x, to, ld_to, rows, p.in.count(block));
  for (Dim r = 0; r < rows; ++r) {
    for_shuffled(p, block, [&](Dim k, Dim place) {
      to[r * ld_to + k] = place < p.features ? convert<C>(x[r * ld_x + place]) : C{0};
    });
  }
}

// The reverse: their gradients to where they are in dx.
template <class C, class T>
void scatter(const Problem& p, Dim block, const C* from, Dim ld_from, Dim rows, T* dx, Dim ld_dx) {
  if (!p.shuffle) return copy_tile(from, ld_from, dx + p.in.begin(block), ld_dx, rows, p.in.count(block));
  for (Dim r = 0; r < rows; ++r) {
    for_shuffled(p, block, [&](Dim k, Dim place) {
      if (place < p.features) dx[r * ld_dx + place] = convert<T>(from[r * ld_from + k]);
    });
  }
}

template <class T>
void forward_typed(const Problem& p, const ConstView& x, const ConstView& w, const ConstView& bias, const View& y) {
  using C = accumulate_t<T>;
  const Blocks<C> blocks{w.as<C>(), p.in, p.out};
  const PackedBlocks<C> packed(blocks, PackedBlocks<C>::forward, p.rows > 1);
  const Dim ld_x = x.step(0), ld_y = y.step(0);
  // Each row is computed by itself: the tiles may depend on the number of threads.
  const Dim tile_rows = std::clamp<Dim>(ceil_div(p.rows, num_threads()), 1, kTileRows);
  parallel_items(ceil_div(p.rows, tile_rows), [&](Dim tile) {
    const Dim begin = tile * tile_rows, rows = std::min(tile_rows, p.rows - begin);
    const T* const x_tile = x.as<T>() + begin * ld_x;
    T* const y_tile = y.as<T>() + begin * ld_y;
    Scratch<C> scratch(Scratch<C>::padded(rows * p.in.length) + Scratch<C>::padded(rows * p.out.length));
    C* const x_copy = scratch.take(rows * p.in.length);
    C* const y_copy = scratch.take(rows * p.out.length);
    for (Dim i = 0; i < p.out.blocks; ++i) {
      const C* x_i = x_copy;
      C* y_i = y_copy;
      Dim ld_x_i = p.in.length, ld_y_i = p.out.length;
      bool in_place = false;
      if constexpr (std::is_same_v<T, C>) {
        y_i = y_tile + p.out.begin(i);
        ld_y_i = ld_y;
        in_place = !p.shuffle;
        if (in_place) x_i = x_tile + p.in.begin(i), ld_x_i = ld_x;
      }
      if (!in_place) gather(p, i, x_tile, ld_x, rows, x_copy, ld_x_i);
      const C* const bias_i = bias ? bias.as<C>() + p.out.begin(i) : nullptr;
      if (p.rows == 1) multiply_row(blocks, i, x_i, bias_i, y_i);
      else packed.multiply(i, rows, x_i, ld_x_i, y_i, ld_y_i, bias_i);
      if constexpr (!std::is_same_v<T, C>) copy_tile(y_i, ld_y_i, y_tile + p.out.begin(i), ld_y, rows, p.out.count(i));
    }
  });
}

template <class T>
void backward_typed(const Problem& p, const ConstView& dy, const ConstView& x, const ConstView& w, const View& dx,
                    const View& dw, const View& dbias) {
  using C = accumulate_t<T>;
  const Blocks<C> blocks{w.as<C>(), p.in, p.out};
  const PackedBlocks<C> packed(blocks, PackedBlocks<C>::backward, static_cast<bool>(dx));
  // A range of rows and a block are an item of work: with many blocks, few ranges are enough.
  const RowRanges ranges(p.rows, ceil_div(16, p.in.blocks));
  const RangeSums<C> dw_sums(dw, ranges.count), dbias_sums(dbias, ranges.count);
  parallel_items(ranges.count * p.in.blocks, [&](Dim item) {
    const Dim range = item / p.in.blocks, i = item % p.in.blocks, end = ranges.begin(range + 1);
    const Dim ld_x = line_of(p.in.length), ld_dy = line_of(p.out.length);
    Scratch<C> scratch(kTileRows * (2 * ld_x + ld_dy));
    C* const x_i = scratch.take(kTileRows * ld_x);
    C* const dx_copy = scratch.take(kTileRows * ld_x);
    C* const dy_i = scratch.take(kTileRows * ld_dy);
    C* const bias_sum = dbias ? dbias_sums.at(range) + p.out.begin(i) : nullptr;
    if (dw) std::fill_n(dw_sums.at(range) + i * blocks.size(), blocks.size(), C{0});
    if (dbias) std::fill_n(bias_sum, p.out.count(i), C{0});
    for (Dim begin = ranges.begin(range); begin < end; begin += kTileRows) {
      const Dim rows = std::min(kTileRows, end - begin);
      copy_tile(dy.as<T>() + begin * dy.step(0) + p.out.begin(i), dy.step(0), dy_i, ld_dy, rows, p.out.count(i));
      if (dbias) add_rows(dy_i, ld_dy, rows, p.out.count(i), bias_sum);
      if (dw) {
        gather(p, i, x.as<T>() + begin * x.step(0), x.step(0), rows, x_i, ld_x);
        add_gradient(blocks, i, rows, dy_i, ld_dy, x_i, ld_x, dw_sums.at(range));
      }
      if (dx) {
        T* const dx_tile = dx.as<T>() + begin * dx.step(0);
        if constexpr (std::is_same_v<T, C>) {
          if (!p.shuffle) {
            packed.multiply(i, rows, dy_i, ld_dy, dx_tile + p.in.begin(i), dx.step(0));
            continue;
          }
        }
        packed.multiply(i, rows, dy_i, ld_dy, dx_copy, ld_x);
        scatter(p, i, dx_copy, ld_x, rows, dx_tile, dx.step(0));
      }
    }
  });
  dw_sums.add_up();
  dbias_sums.add_up();
}

}  // namespace

void block_diagonal_forward(const Exec&, ConstView x, ConstView w, ConstView bias, bool shuffle, View y) {
  const Problem problem = check("block_diagonal_forward", x, y, w, bias, shuffle);
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype, "block_diagonal_forward", [&]<class T>() { forward_typed<T>(problem, x, w, bias, y); });
}

void block_diagonal_backward(const Exec&, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias) {
  constexpr std::string_view operation = "block_diagonal_backward";
  const Problem problem = check(operation, x, dy, w, dbias, shuffle);
  check_gradients(x, w, dx, dw);
  dispatch_floating(x.dtype, operation, [&]<class T>() { backward_typed<T>(problem, dy, x, w, dx, dw, dbias); });
}

}  // namespace ashlar::kernels::cpu
