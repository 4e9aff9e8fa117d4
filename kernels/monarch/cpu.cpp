// Monarch products on tiles of rows whose hidden features stay in the cache.
#include "core/parallel.h"
#include "kernels/block_diagonal/blocks.h"
#include "kernels/monarch/monarch.h"
#include "kernels/monarch/problem.h"
#include "kernels/small_gemm/range_sums.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace monarch;

constexpr Dim kForwardRows = 32, kBackwardRows = 64;

// Moves the features that block i of one side shares with every block of the other: `block` (rows, others * c) holds
// them for block i alone, `all` (rows, others * blocks * c) for all blocks, grouped by the other side.
template <class C>
void regroup(const C* block, Dim ld_block, Dim i, Dim blocks, Dim others, Dim c, Dim rows, C* all, Dim ld_all) {
  for (Dim row = 0; row < rows; ++row) {
    for (Dim o = 0; o < others; ++o) {
      std::copy_n(block + row * ld_block + o * c, c, all + row * ld_all + (o * blocks + i) * c);
    }
  }
}

template <class T>
void forward_typed(const Problem& p, const ConstView& x, const ConstView& r, const ConstView& l, const ConstView& bias,
                   const View& h, const View& y) {
  using C = accumulate_t<T>;
  constexpr bool kConvert = !std::is_same_v<T, C>;
  const Blocks<C> right{r.as<C>(), p.in, p.a}, left{l.as<C>(), p.h, p.out};
  const PackedBlocks<C> packed_right(right, PackedBlocks<C>::forward, p.rows > 1);
  const PackedBlocks<C> packed_left(left, PackedBlocks<C>::forward, p.rows > 1);
  const Dim hidden = p.h.size;
  // Each row is computed by itself: the tiles may depend on the number of threads.
  const Dim tile_rows = std::clamp<Dim>(ceil_div(p.rows, num_threads()), 1, kForwardRows);
  parallel_items(ceil_div(p.rows, tile_rows), [&](Dim tile) {
    const Dim begin = tile * tile_rows, rows = std::min(tile_rows, p.rows - begin);
    const T* const x_tile = x.as<T>() + begin * x.step(0);
    T* const y_tile = y.as<T>() + begin * y.step(0);
    const Dim x_size = rows * p.in.length, a_size = rows * p.a.length, y_size = rows * p.out.length;
    Scratch<C> scratch(Scratch<C>::padded(x_size) + Scratch<C>::padded(a_size) + Scratch<C>::padded(y_size) +
                       Scratch<C>::padded(rows * hidden));
    C* const x_copy = scratch.take(x_size);
    C* const a_j = scratch.take(a_size);
    C* const y_copy = scratch.take(y_size);
    C* h_tile = scratch.take(rows * hidden);
    if constexpr (!kConvert) {
      if (h) h_tile = h.as<C>() + begin * hidden;
    }
    for (Dim j = 0; j < p.in.blocks; ++j) {
      const C* x_j = x_copy;
      Dim ld_x = p.in.length;
      if constexpr (kConvert) copy_tile(x_tile + p.in.begin(j), x.step(0), x_copy, ld_x, rows, p.in.count(j));
      else x_j = x_tile + p.in.begin(j), ld_x = x.step(0);
      if (p.rows == 1) multiply_row(right, j, x_j, static_cast<const C*>(nullptr), a_j);
      else packed_right.multiply(j, rows, x_j, ld_x, a_j, p.a.length);
      regroup(a_j, p.a.length, j, p.in.blocks, p.out.blocks, p.rank, rows, h_tile, hidden);
    }
    for (Dim i = 0; i < p.out.blocks; ++i) {
      C* y_i = y_copy;
      Dim ld_y = p.out.length;
      if constexpr (!kConvert) y_i = y_tile + p.out.begin(i), ld_y = y.step(0);
      const C* const bias_i = bias ? bias.as<C>() + p.out.begin(i) : nullptr;
      if (p.rows == 1) multiply_row(left, i, h_tile + p.h.begin(i), bias_i, y_i);
      else packed_left.multiply(i, rows, h_tile + p.h.begin(i), hidden, y_i, ld_y, bias_i);
      if constexpr (kConvert) copy_tile(y_i, ld_y, y_tile + p.out.begin(i), y.step(0), rows, p.out.count(i));
    }
    if constexpr (kConvert) {
      if (h) copy_tile(h_tile, hidden, h.as<T>() + begin * hidden, hidden, rows, hidden);
    }
  });
}

struct BackwardCall {
  ConstView dy, x, h, r, l;
  View dx, dr, dl, dbias;
};

template <class T>
class Backward {
 public:
  using C = accumulate_t<T>;

  Backward(const Problem& problem, const BackwardCall& call)
      : p_(problem),
        call_(call),
        right_{call.r.as<C>(), p_.in, p_.a},
        left_{call.l.as<C>(), p_.h, p_.out},
        packed_right_(right_, PackedBlocks<C>::backward, static_cast<bool>(call.dx)),
        packed_left_(left_, PackedBlocks<C>::backward, call.dx || call.dr),
        ranges_(p_.rows, kMaxRanges),
        dr_(call.dr, ranges_.count),
        dl_(call.dl, ranges_.count),
        dbias_(call.dbias, ranges_.count) {}

  void run() const {
    parallel_items(ranges_.count, [&](Dim range) {
      if (dr_) std::fill_n(dr_.at(range), p_.in.blocks * right_.size(), C{0});
      if (dl_) std::fill_n(dl_.at(range), p_.out.blocks * left_.size(), C{0});
      if (dbias_) std::fill_n(dbias_.at(range), p_.out.size, C{0});
      const Dim end = ranges_.begin(range + 1);
      for (Dim row = ranges_.begin(range); row < end; row += kBackwardRows) {
        tile(range, row, std::min(kBackwardRows, end - row));
      }
    });
    dr_.add_up();
    dl_.add_up();
    dbias_.add_up();
  }

 private:
  static constexpr Dim kMaxRanges = 8;

  void tile(Dim range, Dim begin, Dim rows) const {
    const Dim ld_a = line_of(p_.a.size);
    Scratch<C> scratch(rows * (ld_a + 2 * line_of(p_.in.length) + line_of(p_.out.length) + 2 * line_of(p_.h.length)));
    C* const da = scratch.take(rows * ld_a);
    through_left(range, begin, rows, scratch, da, ld_a);
    if (call_.dr || call_.dx) through_right(range, begin, rows, scratch, da, ld_a);
  }

  // dbias, dL and dA
  void through_left(Dim range, Dim begin, Dim rows, Scratch<C>& scratch, C* da, Dim ld_a) const {
    const Dim ld_dy = line_of(p_.out.length), ld_h = line_of(p_.h.length);
    C* const dy_i = scratch.take(rows * ld_dy);
    C* const h_i = scratch.take(rows * ld_h);
    C* const dh_i = scratch.take(rows * ld_h);
    const Dim step = call_.dy.step(0), hidden = p_.h.size;
    for (Dim i = 0; i < p_.out.blocks; ++i) {
      copy_tile(call_.dy.as<T>() + begin * step + p_.out.begin(i), step, dy_i, ld_dy, rows, p_.out.count(i));
      if (dbias_) add_rows(dy_i, ld_dy, rows, p_.out.count(i), dbias_.at(range) + p_.out.begin(i));
      if (dl_) {
        copy_tile(call_.h.as<T>() + begin * hidden + p_.h.begin(i), hidden, h_i, ld_h, rows, p_.h.length);
        add_gradient(left_, i, rows, dy_i, ld_dy, h_i, ld_h, dl_.at(range));
      }
      if (call_.dr || call_.dx) {
        packed_left_.multiply(i, rows, dy_i, ld_dy, dh_i, ld_h);
        regroup(dh_i, ld_h, i, p_.out.blocks, p_.in.blocks, p_.rank, rows, da, ld_a);
      }
    }
  }

  // dR and dX
  void through_right(Dim range, Dim begin, Dim rows, Scratch<C>& scratch, const C* da, Dim ld_a) const {
    const Dim ld_x = line_of(p_.in.length);
    C* const x_j = scratch.take(rows * ld_x);
    C* const dx_copy = scratch.take(rows * ld_x);
    for (Dim j = 0; j < p_.in.blocks; ++j) {
      const C* const da_j = da + p_.a.begin(j);
      if (dr_) {
        const Dim step = call_.x.step(0);
        copy_tile(call_.x.as<T>() + begin * step + p_.in.begin(j), step, x_j, ld_x, rows, p_.in.count(j));
        add_gradient(right_, j, rows, da_j, ld_a, x_j, ld_x, dr_.at(range));
      }
      if (call_.dx) {
        const Dim step = call_.dx.step(0);
        T* const dx_j = call_.dx.template as<T>() + begin * step + p_.in.begin(j);
        if constexpr (std::is_same_v<T, C>) {
          packed_right_.multiply(j, rows, da_j, ld_a, dx_j, step);
        } else {
          packed_right_.multiply(j, rows, da_j, ld_a, dx_copy, ld_x);
          copy_tile(dx_copy, ld_x, dx_j, step, rows, p_.in.count(j));
        }
      }
    }
  }

  const Problem& p_;
  const BackwardCall& call_;
  Blocks<C> right_, left_;
  PackedBlocks<C> packed_right_, packed_left_;
  RowRanges ranges_;
  RangeSums<C> dr_, dl_, dbias_;
};

}  // namespace

void monarch_forward(const Exec&, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y) {
  const Problem problem = check("monarch_forward", x, y, h, r, l, bias);
  if (y.numel() == 0) return;
  dispatch_floating(x.dtype, "monarch_forward", [&]<class T>() { forward_typed<T>(problem, x, r, l, bias, h, y); });
}

void monarch_backward(const Exec&, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias) {
  constexpr std::string_view operation = "monarch_backward";
  const Problem problem = check(operation, x, dy, h, r, l, dbias);
  check_gradients(problem, x, h, r, l, dx, dr, dl);
  const BackwardCall call{dy, x, h, r, l, dx, dr, dl, dbias};
  dispatch_floating(x.dtype, operation, [&]<class T>() { Backward<T>(problem, call).run(); });
}

}  // namespace ashlar::kernels::cpu
