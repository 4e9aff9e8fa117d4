// Softmax cross-entropy on the CPU. A row is read from memory once for the loss and once more for the gradient.
#include <cmath>
#include <limits>

#include "kernels/cross_entropy/checks.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

#ifndef ASHLAR_KERNELS_CROSS_ENTROPY_ONCE
#define ASHLAR_KERNELS_CROSS_ENTROPY_ONCE
namespace ashlar::kernels {
namespace {

struct Work {
  ConstView logits;
  CrossEntropyTargets targets;
  double gradient_scale;
  View losses, dlogits;
};

}  // namespace
}  // namespace ashlar::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// Of one row: max(x), Σ exp(x - max), Σ x.
template <class A>
struct Statistics {
  A max;
  double exp_sum, sum;
};

// Online softmax (Milakov and Gimelshein 2018) over blocks that fit in the L1 cache: the maximum of a block first,
// then its exponentials; the sum so far is rescaled when a block raises the maximum.
template <class T>
Statistics<accumulate_t<T>> statistics_of(const T* x, Dim count, bool with_sum) {
  using A = accumulate_t<T>;
  constexpr Dim kBlock = 2048;
  const Tag<T> d;
  // From the lowest finite value: a logit of -inf then counts as exp(-inf) = 0, not as exp(-inf + inf).
  constexpr A lowest = std::numeric_limits<A>::lowest();
  Statistics<A> row{lowest, 0, 0};
  for (Dim begin = 0; begin < count; begin += kBlock) {
    const Dim end = count - begin < kBlock ? count : begin + kBlock;
    const Dim whole = begin + (end - begin) / lanes(d) * lanes(d), rest = end - whole;
    auto max = hn::Set(d, lowest);
    for (Dim i = begin; i < whole; i += lanes(d)) max = hn::Max(load(d, x + i), max);
    if (rest > 0) {
      const auto v = load_some(d, x + whole, rest);
      max = hn::IfThenElse(first_lanes(d, rest), hn::Max(v, max), max);
    }
    const A block_max = max_lanes(d, max);
    if (block_max > row.max) {
      row.exp_sum *= std::exp(static_cast<double>(row.max) - static_cast<double>(block_max));
      row.max = block_max;
    }
    const auto shift = hn::Set(d, row.max);
    auto exp_sum = hn::Zero(d), sum = hn::Zero(d);
    for (Dim i = begin; i < whole; i += lanes(d)) {
      const auto v = load(d, x + i);
      exp_sum = hn::Add(exp_sum, exp(d, hn::Sub(v, shift)));
      sum = hn::Add(sum, v);
    }
    if (rest > 0) {
      const auto v = load_some(d, x + whole, rest);
      exp_sum = hn::Add(exp_sum, hn::IfThenElseZero(first_lanes(d, rest), exp(d, hn::Sub(v, shift))));
      sum = hn::Add(sum, v);
    }
    row.exp_sum += static_cast<double>(sum_lanes(d, exp_sum));
    if (with_sum) row.sum += static_cast<double>(sum_lanes(d, sum));
  }
  return row;
}

template <class T, class G>
void row_of(const Work& work, Dim row) {
  using A = accumulate_t<T>;
  const Dim classes = work.logits.size(1);
  const T* x = work.logits.as<T>() + row * work.logits.step(0);
  G* dx = work.dlogits ? work.dlogits.as<G>() + row * work.dlogits.step(0) : nullptr;
  A& loss = work.losses.as<A>()[row * work.losses.step(0)];
  const auto& targets = work.targets;
  const Dim target = targets.target.as<std::int32_t>()[row * targets.target.step(0)];
  if (target < 0) {
    loss = 0;
    for (Dim i = 0; dx && i < classes; ++i) dx[i] = G{};
    return;
  }
  // The target distribution: `hard` at target, `hard_other` at other, `soft` everywhere.
  const Dim other = targets.other ? targets.other.as<std::int32_t>()[row * targets.other.step(0)] : target;
  const double weight = targets.weight ? static_cast<double>(targets.weight.as<float>()[row * targets.weight.step(0)]) : 1;
  const double hard = (1 - targets.smoothing) * weight, hard_other = (1 - targets.smoothing) * (1 - weight);
  const double soft = targets.smoothing / static_cast<double>(classes);
  const double x_target = convert<double>(x[target]), x_other = convert<double>(x[other]);

  const auto row_statistics = statistics_of(x, classes, soft != 0);
  // A term of weight 0 is left out: its logit may be -inf. The hard and soft weights add up to 1.
  const double max = static_cast<double>(row_statistics.max);
  double value = std::log(row_statistics.exp_sum);
  if (hard != 0) value -= hard * (x_target - max);
  if (hard_other != 0) value -= hard_other * (x_other - max);
  if (soft != 0) value -= soft * row_statistics.sum - targets.smoothing * max;
  loss = static_cast<A>(value);
  if (!dx) return;

  // dlogits = gradient_scale (softmax - target distribution).
  const Tag<T> d;
  const double scale = work.gradient_scale, softmax_scale = scale / row_statistics.exp_sum;
  const auto shift = hn::Set(d, row_statistics.max), factor = hn::Set(d, static_cast<A>(softmax_scale));
  const auto offset = hn::Set(d, static_cast<A>(scale * soft));
  map(d, classes, [=](auto v) HWY_ATTR { return hn::MulSub(exp(d, hn::Sub(v, shift)), factor, offset); }, dx, x);
  const auto correct = [&](Dim index, double logit, double share) {
    const double softmax = softmax_scale * std::exp(logit - max);
    dx[index] = convert<G>(static_cast<A>(softmax - scale * (soft + share)));
  };
  correct(target, x_target, other == target ? hard + hard_other : hard);
  if (other != target) correct(other, x_other, hard_other);
}

void cross_entropy_rows(const Work& work, Dim begin, Dim end) {
  if (work.dlogits && work.dlogits.dtype != work.logits.dtype) {
    for (Dim row = begin; row < end; ++row) row_of<float, bfloat16>(work, row);
    return;
  }
  dispatch_floating(work.logits.dtype, "cross_entropy", [&]<class T>() HWY_ATTR {
    for (Dim row = begin; row < end; ++row) row_of<T, T>(work, row);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(cross_entropy_rows);

namespace cpu {

void cross_entropy(const Exec&, ConstView logits, CrossEntropyTargets targets, double gradient_scale, View losses,
                   View dlogits) {
  check_cross_entropy(logits, targets, losses, dlogits);
  const Dim rows = logits.size(0), classes = logits.size(1);
  check_classes(targets, classes);
  const Work work{logits, targets, gradient_scale, losses, dlogits};
  const auto run = ASHLAR_DISPATCH(cross_entropy_rows);
  parallel_for(rows, row_grain(4 * classes), [&](Dim begin, Dim end) { run(work, begin, end); });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
