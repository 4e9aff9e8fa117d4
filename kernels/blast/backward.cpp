#include "core/parallel.h"
#include "kernels/blast/coupling.h"
#include "kernels/blast/fetch.h"
#include "kernels/blast/hidden.h"
#include "kernels/blocks/range_sums.h"
#include "kernels/reduce/column_sums.h"
#include "kernels/views.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace kernels::blast;

struct BackwardCall {
  ConstView dy, x, a, u, v, s;
  View dx, du, dv, ds, dbias;
};

class Backward {
 public:
  Backward(const Exec& exec, const Sizes& sizes, const BackwardCall& call)
      : exec_(exec),
        p_(sizes),
        call_(call),
        left_(exec, call.u, call.x.dtype),
        right_(exec, call.a ? ConstView{} : call.v, call.x.dtype),
        right_transposed_(Operand::transposed(exec, call.dx ? call.v : ConstView{}, call.x.dtype, sizes.rows)),
        coupling_(call.s ? pack_coupling(call.s, call.x.dtype) : Array()),
        reverse_coupling_(call.s ? reverse_coupling(coupling_, call.s, call.x.dtype) : Array()),
        packed_ds_(call.ds ? packed_gradient(call.ds) : Array()),
        ranges_(p_.rows),
        du_(call.du, ranges_.count),
        dv_(call.dv, ranges_.count),
        ds_(call.ds ? View(packed_ds_) : View{}, ranges_.count),
        dbias_(call.dbias, ranges_.count) {}

  void run() const {
    constexpr Dim kCacheBytes = 2048 * 1024;  // sums over rows are read and written once a tile, so that long tiles pay
    const Dim row_values = (call_.s ? 2 : 1) * (p_.in.blocks + p_.out.blocks) * blast_padded_rank(p_.rank);
    const Dim row_bytes = row_values * static_cast<Dim>(size_of(call_.x.dtype));
    for_tiles(ranges_, row_bytes, kCacheBytes, [this](const RangeTile& t) { tile(t); });
    du_.add_up();
    dv_.add_up();
    ds_.add_up();
    dbias_.add_up();
    if (call_.ds) unpack_gradient(packed_ds_, call_.ds);
    clear_padding(call_.du, p_.out.size);
    clear_padding(call_.dv, p_.in.size);
  }

 private:
  void tile(const RangeTile& t) const {
    const auto [range, begin, rows, next_rows, accumulate] = t;
    const DType dtype = call_.x.dtype;
    const ConstView dy = rows_of(call_.dy, begin, rows), x = rows_of(call_.x, begin, rows);
    if (dbias_) sums::column_sums(dy, accumulate, dbias_.at(range));
    const bool need_a = call_.du || call_.ds, need_da = call_.dv || call_.dx;
    if (!need_a && !need_da) return;
    const Dim inputs = p_.in.blocks, outputs = p_.out.blocks;
    const Array dc = hidden_features(rows, outputs, p_.rank, dtype);
    if (!dbias_) read_before_blocks(p_.out, dy);
    to_rank(exec_, p_.out, dy, left_.view(), dc);
    ConstView a = rows_of(call_.a, begin, rows);
    Array own_a;
    if (need_a && !a) {
      own_a = hidden_features(rows, inputs, p_.rank, dtype);
      read_before_blocks(p_.in, x);
      to_rank(exec_, p_.in, x, right_.view(), own_a);
      a = own_a;
    }
    const Array c = call_.s && call_.du ? hidden_features(rows, outputs, p_.rank, dtype) : Array();
    const Array da = call_.s && need_da ? hidden_features(rows, inputs, p_.rank, dtype) : dc;
    if (call_.s) {
      if (call_.a) read_in_order(whole_rows(a));
      Ahead ahead;
      if (next_rows > 0 && takes_short_pieces(p_.out, dtype)) ahead.dy = rows_of(call_.dy, begin + rows, next_rows);
      if (call_.a && call_.dv && takes_short_pieces(p_.in, dtype, 128)) ahead.x = x;  // longer ones the product foresees
      couple_tile(a, dc, accumulate, c, ds_.view(range), need_da ? View(da) : View{}, ahead);
    }
    if (call_.du) factor_gradient(exec_, p_.out, dy, call_.s ? ConstView(c) : a, accumulate, du_.view(range), {});
    if (!need_da) return;
    if (call_.dv) factor_gradient(exec_, p_.in, x, da, accumulate, dv_.view(range), {});
    if (call_.dx) from_rank(exec_, p_.in, da, right_transposed_.view(), {}, rows_of(call_.dx, begin, rows));
  }

  // Rows to fetch while a tile is coupled: dy of the next one, x of this one; absent where that does not pay.
  struct Ahead {
    ConstView dy, x;
  };

  // c, ds and da of a tile, some of the rank at a time: A and dC come from a slower cache only once.
  void couple_tile(const ConstView& a, const ConstView& dc, bool accumulate, const View& c, const View& ds, const View& da,
                   const Ahead& ahead) const {
    constexpr Dim kGroups = 2;
    for (Dim group = 0; group < ceil_div(p_.rank, kGroup); group += kGroups) {
      const Dim k = group * kGroup, count = std::min(kGroups * kGroup, p_.rank - k);
      const auto part = [&](const auto& view) {
        return strided(view, k, view.shape.with(2, count), {view.step(0), view.step(1), 1});
      };
      const auto part_of = [&](const Array& packed) { return packed.slice(0, group, group + ceil_div(count, kGroup)); };
      const auto share = [&](const ConstView& rows) {  // as many of them as these values are of the rank
        if (!rows) return rows;
        const Dim begin = rows.size(0) * k / p_.rank, end = rows.size(0) * (k + count) / p_.rank;
        return rows_of(rows, begin, end - begin);
      };
      if (c) couple(part_of(coupling_), part(a), part(c), {.kept = {}, .next = share(ahead.dy)});
      if (ds) couple_gradient(part(a), part(dc), accumulate, rows_of(ds, group, ceil_div(count, kGroup)));
      if (da) couple(part_of(reverse_coupling_), part(dc), part(da), {.kept = {}, .next = share(ahead.x)});
    }
  }

  // Room for what couple_gradient() sums.
  static Array packed_gradient(const View& ds) {
    return Array::empty({ceil_div(ds.size(2), kGroup), ds.size(0), ds.size(1), kGroup}, ds.dtype);
  }

  // The rows of a factor's gradient beyond the features.
  static void clear_padding(const View& gradient, Dim features) {
    if (!gradient) return;
    const Dim rank = gradient.size(2), rows = gradient.size(0) * gradient.size(1);
    fill(strided(gradient, features * rank, {rows - features, rank}, {rank, 1}), 0);
  }

  const Exec& exec_;
  const Sizes& p_;
  const BackwardCall& call_;
  Operand left_, right_, right_transposed_;
  Array coupling_, reverse_coupling_, packed_ds_;
  RowRanges ranges_;
  RangeSums du_, dv_, ds_, dbias_;
};

}  // namespace

void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u, ConstView v, ConstView s,
                    View dx, View du, View dv, View ds, View dbias) {
  constexpr std::string_view operation = "blast_backward";
  const Sizes sizes = check(operation, x, dy, u, v, s, dbias, kept);
  check_gradients(operation, x, u, v, s, dx, du, dv, ds);
  if (sizes.rows == 0) return clear({du, dv, ds, dbias});
  Backward(exec, sizes, {dy, x, kept_a(kept, sizes), u, v, s, dx, du, dv, ds, dbias}).run();
}

}  // namespace ashlar::kernels::cpu
