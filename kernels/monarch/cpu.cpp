// Monarch products on tiles of rows whose hidden features stay in the cache.
#include "core/parallel.h"
#include "kernels/blocks/products.h"
#include "kernels/blocks/range_sums.h"
#include "kernels/blocks/regroup.h"
#include "kernels/monarch/monarch.h"
#include "kernels/monarch/checks.h"
#include "kernels/reduce/column_sums.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace monarch;

Dim row_bytes(const Sizes& p, const ConstView& x) { return 2 * p.h.size * static_cast<Dim>(size_of(x.dtype)); }

struct BackwardCall {
  ConstView dy, x, h, r, l;
  View dx, dr, dl, dbias;
};

class Backward {
 public:
  Backward(const Exec& exec, const Sizes& sizes, const BackwardCall& call)
      : exec_(exec),
        p_(sizes),
        call_(call),
        right_(exec, call.r, call.x.dtype),
        left_(exec, call.l, call.x.dtype),
        ranges_(p_.rows),
        dr_(call.dr, ranges_.count),
        dl_(call.dl, ranges_.count),
        dbias_(call.dbias, ranges_.count) {}

  void run() const {
    constexpr Dim kCacheBytes = 1024 * 1024;
    for_tiles(ranges_, row_bytes(p_, call_.x), kCacheBytes, [this](const RangeTile& t) { tile(t); });
    dr_.add_up();
    dl_.add_up();
    dbias_.add_up();
  }

 private:
  void tile(const RangeTile& t) const {
    const auto [range, begin, rows, next_rows, accumulate] = t;
    if (!accumulate) {  // the padding
      if (dr_) fill(dr_.view(range), 0);
      if (dl_) fill(dl_.view(range), 0);
    }
    const ConstView dy = rows_of(call_.dy, begin, rows), x = rows_of(call_.x, begin, rows);
    if (dbias_) sums::column_sums(dy, accumulate, dbias_.at(range));
    if (call_.dl) block_gradients(exec_, p_.h, p_.out, rows_of(call_.h, begin, rows), dy, accumulate, dl_.view(range), {});
    if (!call_.dr && !call_.dx) return;
    const Array dh = Array::empty({rows, p_.h.size}, x.dtype), da = empty_like(dh);
    multiply_blocks(exec_, p_.out, p_.h, dy, left_.view(), {}, dh);
    regroup(dh, p_.out.blocks, p_.in.blocks, p_.rank, da);
    if (call_.dr) block_gradients(exec_, p_.in, p_.a, x, da, accumulate, dr_.view(range), {});
    if (call_.dx) multiply_blocks(exec_, p_.a, p_.in, da, right_.view(), {}, rows_of(call_.dx, begin, rows));
  }

  const Exec& exec_;
  const Sizes& p_;
  const BackwardCall& call_;
  Operand right_, left_;
  RowRanges ranges_;
  RangeSums dr_, dl_, dbias_;
};

}  // namespace

void monarch_forward(const Exec& exec, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y) {
  constexpr Dim kCacheBytes = 512 * 1024;
  const Sizes p = check("monarch_forward", x, y, h, r, l, bias);
  if (y.numel() == 0) return;
  const Operand right = Operand::transposed(exec, r, x.dtype, p.rows);
  const Operand left = Operand::transposed(exec, l, x.dtype, p.rows);
  const Tiles tiles = Tiles::shared(p.rows, row_bytes(p, x), kCacheBytes);
  parallel_items(tiles.count, [&](Dim tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.length(tile);
    const Array a = Array::empty({rows, p.h.size}, x.dtype), own_h = h ? Array() : empty_like(a);
    const View h_tile = h ? rows_of(h, begin, rows) : View(own_h);
    multiply_blocks(exec, p.in, p.a, rows_of(x, begin, rows), right.view(), {}, a);
    regroup(a, p.in.blocks, p.out.blocks, p.rank, h_tile);
    multiply_blocks(exec, p.h, p.out, h_tile, left.view(), bias, rows_of(y, begin, rows));
  });
}

void monarch_backward(const Exec& exec, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias) {
  constexpr std::string_view operation = "monarch_backward";
  const Sizes sizes = check(operation, x, dy, h, r, l, dbias);
  check_gradients(sizes, x, h, r, l, dx, dr, dl);
  if (sizes.rows == 0) return clear({dr, dl, dbias});
  Backward(exec, sizes, {dy, x, h, r, l, dx, dr, dl, dbias}).run();
}

}  // namespace ashlar::kernels::cpu
