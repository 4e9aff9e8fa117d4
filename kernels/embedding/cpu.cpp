// Table lookup on the CPU. The gradient is split between threads by columns: no two threads write one value, and
// rows that share an id are added in the order of the batch whatever the number of threads.
#include "core/rounding.h"
#include "kernels/embedding/checks.h"
#include "kernels/embedding/embedding.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// Rows [begin, end) of y.
void lookup_rows(const ConstView& table, const ConstView& ids, const View& y, Dim begin, Dim end) {
  dispatch_floating(table.dtype, "embedding_forward", [&]<class T>() HWY_ATTR {
    dispatch_floating(y.dtype, "embedding_forward", [&]<class Y>() HWY_ATTR {
      const Tag<T, Y> d;
      for (Dim n = begin; n < end; ++n) {
        const Dim id = ids.as<std::int32_t>()[n * ids.step(0)];
        map(d, y.size(1), [](auto v) HWY_ATTR { return v; }, y.as<Y>() + n * y.step(0),
            table.as<T>() + id * table.step(0));
      }
    });
  });
}

// Columns [begin, end) of dtable.
void accumulate_columns(const ConstView& ids, const ConstView& dy, const View& dtable, Dim begin, Dim end) {
  dispatch_floating(dy.dtype, "embedding_backward", [&]<class T>() HWY_ATTR {
    using A = accumulate_t<T>;
    const Tag<T> d;
    for (Dim n = 0; n < dy.size(0); ++n) {
      const Dim id = ids.as<std::int32_t>()[n * ids.step(0)];
      A* sum = dtable.as<A>() + id * dtable.step(0) + begin;
      map(d, end - begin, [](auto s, auto v) HWY_ATTR { return hn::Add(s, v); }, sum, static_cast<const A*>(sum),
          dy.as<T>() + n * dy.step(0) + begin);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(lookup_rows);
HWY_EXPORT(accumulate_columns);

namespace cpu {
namespace {

constexpr Dim kColumnBlock = 16;  // a cache line of f32: two threads rarely write to one line

// table (V, C), rows (N, C), ids (N) in [0, V).
void check(std::string_view operation, const ConstView& table, const ConstView& ids, const ConstView& rows) {
  check_embedding(operation, table, ids, rows);
  check_ids(operation, table.size(0), ids);
}

}  // namespace

void embedding_forward(const Exec&, ConstView table, ConstView ids, View y) {
  check("embedding_forward", table, ids, y);
  const auto run = ASHLAR_DISPATCH(lookup_rows);
  parallel_for(y.size(0), row_grain(y.size(1)), [&](Dim begin, Dim end) { run(table, ids, y, begin, end); });
}

void embedding_backward(const Exec&, ConstView ids, ConstView dy, View dtable) {
  check("embedding_backward", dtable, ids, dy);
  check_embedding_gradient(dy, dtable);
  const Dim columns = dy.size(1), blocks = ceil_div(columns, kColumnBlock);
  const auto run = ASHLAR_DISPATCH(accumulate_columns);
  parallel_for(blocks, row_grain(dy.size(0) * kColumnBlock), [&](Dim begin, Dim end) {
    run(ids, dy, dtable, begin * kColumnBlock, std::min(columns, end * kColumnBlock));
  });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
