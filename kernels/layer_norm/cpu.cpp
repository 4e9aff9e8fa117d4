// Layer normalisation on the CPU. A row is read from memory once; the further passes over it find it in the L1 cache.
#include <cmath>

#include "core/array.h"
#include "kernels/layer_norm/checks.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"
#include "kernels/views.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

#ifndef ASHLAR_KERNELS_LAYER_NORM_ONCE
#define ASHLAR_KERNELS_LAYER_NORM_ONCE
namespace ashlar::kernels {
namespace {

struct Forward {
  ConstView x, branch, weight, bias;
  double eps;
  View sum, y, mean, rstd;
};
struct Backward {
  ConstView dy, x, weight, mean, rstd, add;
  View dx;
};

}  // namespace
}  // namespace ashlar::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// Calls f(index, load, count, k) for the vectors of a row. load(pointer) reads the vector at that index; `count`
// lanes of it lie in the row, the others are 0. k is 0 and 1 by turns: a sum kept in two halves need not wait for the
// addition before.
template <class D, class F>
HWY_INLINE void each_vector(D d, Dim columns, const F& f) {
  const auto whole = [d](Dim at) HWY_ATTR {
    return [d, at](const auto* from) HWY_ATTR { return load(d, from + at); };
  };
  Dim c = 0;
  for (; c + 2 * lanes(d) <= columns; c += 2 * lanes(d)) {
    f(c, whole(c), lanes(d), 0);
    f(c + lanes(d), whole(c + lanes(d)), lanes(d), 1);
  }
  if (c + lanes(d) <= columns) {
    f(c, whole(c), lanes(d), 0);
    c += lanes(d);
  }
  if (c < columns) {
    const Dim rest = columns - c;
    f(c, [d, c, rest](const auto* from) HWY_ATTR { return load_some(d, from + c, rest); }, rest, 1);
  }
}

// A sum in two halves.
template <class D>
struct Sum {
  HWY_INLINE Sum() : half{hn::Zero(D()), hn::Zero(D())} {}  // an implicit constructor would lack the target
  HWY_INLINE hn::TFromD<D> total() const { return sum_lanes(D(), hn::Add(half[0], half[1])); }

  hn::Vec<D> half[2];
};

template <class T>
void forward_of(const Forward& work, Dim begin, Dim end) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  const Dim columns = work.x.size(1);
  const A* weight = work.weight.as<A>();
  const A* bias = work.bias.as<A>();
  for (Dim row = begin; row < end; ++row) {
    const T* x = work.x.as<T>() + row * work.x.step(0);
    T* y = work.y.as<T>() + row * work.y.step(0);
    if (work.branch) {
      T* sum = work.sum.as<T>() + row * work.sum.step(0);
      map(d, columns, [](auto u, auto v) HWY_ATTR { return hn::Add(u, v); }, sum, x,
          work.branch.as<T>() + row * work.branch.step(0));
      x = sum;  // the rounded values, which are those that backward reads
    }
    Sum<Tag<T>> values, rest, squares;
    each_vector(d, columns, [&](Dim, const auto& at, Dim, int k) HWY_ATTR {
      values.half[k] = hn::Add(values.half[k], at(x));
    });
    const A rough_mean = values.total() / static_cast<A>(columns);
    const auto rough_mean_v = hn::Set(d, rough_mean);
    each_vector(d, columns, [&](Dim, const auto& at, Dim count, int k) HWY_ATTR {
      auto centered = hn::Sub(at(x), rough_mean_v);
      if (count < lanes(d)) centered = hn::IfThenElseZero(first_lanes(d, count), centered);
      rest.half[k] = hn::Add(rest.half[k], centered);
      squares.half[k] = hn::MulAdd(centered, centered, squares.half[k]);
    });
    // What rounding left of the mean is taken out of both (the corrected two-pass algorithm, Chan et al. 1983).
    const A correction = rest.total() / static_cast<A>(columns);
    const A mean = rough_mean + correction;
    const auto mean_v = hn::Set(d, mean);
    const A variance = squares.total() / static_cast<A>(columns) - correction * correction;
    const A rstd = 1 / std::sqrt(variance + static_cast<A>(work.eps));
    const auto rstd_v = hn::Set(d, rstd);
    map(d, columns, [=](auto v, auto w, auto b) HWY_ATTR {
          return hn::MulAdd(hn::Mul(hn::Sub(v, mean_v), rstd_v), w, b);
        },
        y, x, weight, bias);
    work.mean.as<A>()[row] = mean;
    work.rstd.as<A>()[row] = rstd;
  }
}

// With n = (x - mean) rstd and g = dy weight:
//   dx = rstd (g - mean(g) - n mean(g n)) + add      dweight = Σ_rows dy n      dbias = Σ_rows dy
template <class T>
void backward_of(const Backward& work, Dim begin, Dim end, accumulate_t<T>* dweight, accumulate_t<T>* dbias) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  const Dim columns = work.x.size(1);
  const A* weight = work.weight.as<A>();
  for (Dim row = begin; row < end; ++row) {
    const T* x = work.x.as<T>() + row * work.x.step(0);
    const T* dy = work.dy.as<T>() + row * work.dy.step(0);
    const auto mean = hn::Set(d, work.mean.as<A>()[row]), rstd = hn::Set(d, work.rstd.as<A>()[row]);
    Sum<Tag<T>> sum_g, sum_gn;
    each_vector(d, columns, [&](Dim c, const auto& at, Dim count, int k) HWY_ATTR {
      const auto n = hn::Mul(hn::Sub(at(x), mean), rstd);
      const auto dy_v = at(dy);
      const auto g = hn::Mul(dy_v, at(weight));  // 0 in lanes after the end, so n there does not matter
      sum_g.half[k] = hn::Add(sum_g.half[k], g);
      sum_gn.half[k] = hn::MulAdd(g, n, sum_gn.half[k]);
      if (dweight) {
        const auto dweight_v = hn::MulAdd(dy_v, n, at(dweight)), dbias_v = hn::Add(dy_v, at(dbias));
        if (count == lanes(d)) {
          store(d, dweight_v, dweight + c);
          store(d, dbias_v, dbias + c);
        } else {
          store_some(d, dweight_v, dweight + c, count);
          store_some(d, dbias_v, dbias + c, count);
        }
      }
    });
    if (!work.dx) continue;
    const auto mean_g = hn::Set(d, sum_g.total() / static_cast<A>(columns));
    const auto mean_gn = hn::Set(d, sum_gn.total() / static_cast<A>(columns));
    const auto gradient = [=](auto dy_v, auto x_v, auto w) HWY_ATTR {
      const auto n = hn::Mul(hn::Sub(x_v, mean), rstd);
      return hn::Mul(rstd, hn::NegMulAdd(n, mean_gn, hn::Sub(hn::Mul(dy_v, w), mean_g)));
    };
    T* dx = work.dx.as<T>() + row * work.dx.step(0);
    if (work.add) {
      map(d, columns, [&](auto dy_v, auto x_v, auto w, auto a) HWY_ATTR { return hn::Add(gradient(dy_v, x_v, w), a); },
          dx, dy, x, weight, work.add.as<T>() + row * work.add.step(0));
    } else {
      map(d, columns, gradient, dx, dy, x, weight);
    }
  }
}

void forward_rows(const Forward& work, Dim begin, Dim end) {
  dispatch_floating(work.x.dtype, "layer_norm_forward", [&]<class T>() HWY_ATTR { forward_of<T>(work, begin, end); });
}

// dweight and dbias: rows of `columns` master values, added to; or null.
void backward_rows(const Backward& work, Dim begin, Dim end, void* dweight, void* dbias) {
  dispatch_floating(work.x.dtype, "layer_norm_backward", [&]<class T>() HWY_ATTR {
    using A = accumulate_t<T>;
    backward_of<T>(work, begin, end, static_cast<A*>(dweight), static_cast<A*>(dbias));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

namespace cpu {
namespace {

constexpr Dim kMaxChunks = 64;
constexpr Dim kRowsPerChunk = 32;

}  // namespace

void layer_norm_forward(const Exec&, ConstView x, ConstView branch, ConstView weight, ConstView bias, double eps,
                        View sum, View y, View mean, View rstd) {
  layer_norm::check_forward(x, branch, weight, bias, sum, y, mean, rstd);
  const Forward work{x, branch, weight, bias, eps, sum, y, mean, rstd};
  const auto rows = ASHLAR_DISPATCH(forward_rows);
  parallel_for(x.size(0), row_grain(x.size(1)), [&](Dim begin, Dim end) { rows(work, begin, end); });
}

void layer_norm_backward(const Exec& exec, ConstView dy, ConstView x, ConstView weight, ConstView mean, ConstView rstd,
                         ConstView add, View dx, View dweight, View dbias) {
  layer_norm::check_backward(dy, x, weight, mean, rstd, add, dx, dweight, dbias);
  const Backward work{dy, x, weight, mean, rstd, add, dx};
  const auto rows = ASHLAR_DISPATCH(backward_rows);
  if (!dweight && !dbias) {
    parallel_for(x.size(0), row_grain(x.size(1)), [&](Dim begin, Dim end) { rows(work, begin, end, nullptr, nullptr); });
    return;
  }
  // Each chunk of rows has its own partial dweight and dbias.
  const Dim columns = x.size(1);
  const Dim max_chunks = std::clamp<Dim>(x.size(0) / kRowsPerChunk, 1, kMaxChunks);
  const Array partial = Array::zeros({2, max_chunks, columns}, weight.dtype);
  const View sums = partial;
  parallel_chunks(x.size(0), max_chunks, kRowsPerChunk, [&](Dim chunk, Dim begin, Dim end) {
    rows(work, begin, end, advance(sums.data, sums.dtype, chunk * columns),
         advance(sums.data, sums.dtype, (max_chunks + chunk) * columns));
  });
  if (dweight) sum_to(exec, partial.select(0, 0), as_row(dweight));
  if (dbias) sum_to(exec, partial.select(0, 1), as_row(dbias));
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
