// Sums on the CPU. Work is cut by the shape alone and the pieces are added in order, so the bits of a result do not
// depend on the number of threads.
#include "core/array.h"
#include "core/rounding.h"
#include "kernels/reduce/checks.h"
#include "kernels/reduce/column_sums.h"
#include "kernels/reduce/layout.h"
#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// sums[c] = or += Σ_r x[r, c], four rows at a time: a quarter of the traffic to `sums`, which stays in the L1 cache.
template <class T>
void column_sums_of(const T* x, Dim row_step, Dim rows, Dim columns, bool accumulate, accumulate_t<T>* sums) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  for (Dim c = 0; c < columns && !accumulate; ++c) sums[c] = 0;
  Dim r = 0;
  for (; r + 4 <= rows; r += 4) {
    const T* row = x + r * row_step;
    map(d, columns, [](auto s, auto x0, auto x1, auto x2, auto x3) HWY_ATTR {
          return hn::Add(s, hn::Add(hn::Add(x0, x1), hn::Add(x2, x3)));
        },
        sums, static_cast<const A*>(sums), row, row + row_step, row + 2 * row_step, row + 3 * row_step);
  }
  for (; r < rows; ++r) {
    map(d, columns, [](auto s, auto v) HWY_ATTR { return hn::Add(s, v); }, sums, static_cast<const A*>(sums),
        x + r * row_step);
  }
}

// Σ f(x[i]) in f64: exact products of f32 values, no overflow, and still as fast as memory.
template <class T, class F>
HWY_INLINE double sum_of(const T* x, Dim count, const F& f) {
  const hn::ScalableTag<double> d;
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  Dim i = 0;
  for (; i + 4 * lanes(d) <= count; i += 4 * lanes(d)) {
    s0 = f(load(d, x + i), s0);
    s1 = f(load(d, x + i + lanes(d)), s1);
    s2 = f(load(d, x + i + 2 * lanes(d)), s2);
    s3 = f(load(d, x + i + 3 * lanes(d)), s3);
  }
  for (; i < count; i += lanes(d)) s0 = f(load_up_to(d, x + i, count - i), s0);
  return sum_lanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

void column_sums_typed(DType dtype, const void* x, Dim row_step, Dim rows, Dim columns, bool accumulate, void* sums) {
  dispatch_floating(dtype, "column_sums", [=]<class T>() HWY_ATTR {
    column_sums_of(static_cast<const T*>(x), row_step, rows, columns, accumulate, static_cast<accumulate_t<T>*>(sums));
  });
}

double row_sum(DType dtype, const void* x, Dim count) {
  return dispatch_floating(dtype, "sum_to", [=]<class T>() HWY_ATTR {
    return sum_of(static_cast<const T*>(x), count, [](auto v, auto s) HWY_ATTR { return hn::Add(s, v); });
  });
}

double row_square_sum(DType dtype, const void* x, Dim count) {
  return dispatch_floating(dtype, "sums_of_squares", [=]<class T>() HWY_ATTR {
    return sum_of(static_cast<const T*>(x), count, [](auto v, auto s) HWY_ATTR { return hn::MulAdd(v, v, s); });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(column_sums_typed);
HWY_EXPORT(row_sum);
HWY_EXPORT(row_square_sum);

void sums::column_sums(const ConstView& rows, bool accumulate, void* sums) {
  ASHLAR_DISPATCH(column_sums_typed)(rows.dtype, rows.data, rows.step(0), rows.size(0), rows.size(1), accumulate, sums);
}

namespace cpu {
namespace {

using namespace sums;

constexpr Dim kMaxChunks = 64;     // pieces of one sum: as many threads can share it
constexpr Dim kRowsPerChunk = 32;  // so that adding up the pieces costs little
constexpr Dim kColumnBlock = 64;   // columns that one thread takes at least: whole cache lines of bf16

void set(const View& y, Dim offset, double value) {
  dispatch_floating(y.dtype, "sum_to", [&]<class Y>() { y.as<Y>()[offset] = convert<Y>(value); });
}

// y[o, c] = Σ_r x[o, r, c] with c contiguous in x and y and any number of kept dimensions o. `rows` is r.
void sum_columns(const ConstView& x, const View& y, Axes outer, const Axis& rows) {
  const Dim columns = outer.back().size;
  --outer.count;
  const DType master = master_dtype(x.dtype);
  const auto store = [&](const void* from, Dim offset, Dim begin, Dim end) {
    const Shape range{end - begin};
    copy(ConstView(from, master, range, {1}), View{advance(y.data, y.dtype, offset + begin), y.dtype, range, {1}});
  };
  const Dim count = outer.numel();
  if (count > 1) {
    parallel_for(count, row_grain(rows.size * columns), [&](Dim begin, Dim end) {
      const Array scratch = Array::empty({columns}, master);
      const View view = scratch;
      for (Dim o = begin; o < end; ++o) {
        const auto [from, to] = outer.offsets(o);
        column_sums({advance(x.data, x.dtype, from), x.dtype, {rows.size, columns}, {rows.x, 1}}, false, view.data);
        store(view.data, to, 0, columns);
      }
    });
    return;
  }
  const Dim max_chunks = std::clamp<Dim>(rows.size / kRowsPerChunk, 1, kMaxChunks);
  const Array partial = Array::empty({max_chunks + 1, columns}, master);
  const View view = partial;
  const auto row_of = [&](Dim chunk, Dim column) { return advance(view.data, master, chunk * columns + column); };
  const Dim blocks = ceil_div(columns, kColumnBlock);
  const auto parallel_columns = [&](Dim depth, auto&& body) {
    parallel_for(blocks, row_grain(depth * kColumnBlock), [&](Dim begin, Dim end) {
      body(begin * kColumnBlock, std::min(columns, end * kColumnBlock));
    });
  };
  Dim chunks = 0;
  if (max_chunks > 1) {
    chunks = parallel_chunks(rows.size, max_chunks, kRowsPerChunk, [&](Dim chunk, Dim begin, Dim end) {
      column_sums({advance(x.data, x.dtype, begin * rows.x), x.dtype, {end - begin, columns}, {rows.x, 1}}, false,
                  row_of(chunk, 0));
    });
  }
  // Few rows, or the partial sums of many: a thread sums its own columns.
  const ConstView from = chunks > 0 ? ConstView(view.data, master, {chunks, columns}, {columns, 1}) : x;
  const Dim depth = chunks > 0 ? chunks : rows.size, step = chunks > 0 ? columns : rows.x;
  parallel_columns(depth, [&](Dim begin, Dim end) {
    void* total = row_of(max_chunks, begin);
    column_sums({advance(from.data, from.dtype, begin), from.dtype, {depth, end - begin}, {step, 1}}, false, total);
    store(total, 0, begin, end);
  });
}

// Σ run(range) over the contiguous x, in fixed pieces.
template <class Run>
double sum_pieces(Run run, const ConstView& x, const void* data, Dim count) {
  std::array<double, kMaxChunks> partial{};
  const Dim chunks = parallel_chunks(count, kMaxChunks, kGrain, [&](Dim chunk, Dim begin, Dim end) {
    partial[static_cast<std::size_t>(chunk)] = run(x.dtype, advance(data, x.dtype, begin), end - begin);
  });
  double sum = 0;
  for (Dim chunk = 0; chunk < chunks; ++chunk) sum += partial[static_cast<std::size_t>(chunk)];
  return sum;
}

}  // namespace

void sum_to(const Exec&, ConstView x, View y) {
  check_sum_to(x, y);
  if (y.numel() == 0) return;
  const Layout layout = layout_of(x, y);
  const Dim kept = layout.kept.numel(), reduced = layout.reduced.numel();
  if (layout.reduced.count == 0) return copy(x, y);
  if (layout.reduced.count == 1 && layout.kept.count > 0 && layout.kept.back().x == 1 && layout.kept.back().y == 1) {
    return sum_columns(x, y, layout.kept, layout.reduced.axis[0]);
  }
  if (layout.reduced.count == 1 && layout.reduced.axis[0].x == 1) {
    const auto run = ASHLAR_DISPATCH(row_sum);
    if (kept == 1) return set(y, 0, sum_pieces(run, x, x.data, reduced));
    return parallel_for(kept, row_grain(reduced), [&](Dim begin, Dim end) {
      for (Dim k = begin; k < end; ++k) {
        const auto [from, to] = layout.kept.offsets(k);
        set(y, to, run(x.dtype, advance(x.data, x.dtype, from), reduced));
      }
    });
  }
  dispatch_floating(x.dtype, "sum_to", [&]<class T>() {
    parallel_for(kept, row_grain(reduced), [&](Dim begin, Dim end) {
      for (Dim k = begin; k < end; ++k) {
        const auto [from, to] = layout.kept.offsets(k);
        double sum = 0;
        for (Dim r = 0; r < reduced; ++r) sum += convert<double>(x.as<T>()[from + layout.reduced.offsets(r).x]);
        set(y, to, sum);
      }
    });
  });
}

void sums_of_squares(const Exec&, std::span<const ConstView> xs, View y) {
  check_sums_of_squares(xs, y);
  const auto run = ASHLAR_DISPATCH(row_square_sum);
  for (std::size_t i = 0; i < xs.size(); ++i) y.as<double>()[i] = sum_pieces(run, xs[i], xs[i].data, xs[i].numel());
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
