#include "kernels/ss1/signed_sums.h"

#include <algorithm>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ss1/signed_sums.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::HWY_NAMESPACE {
namespace {

using ss1::SignedSums;

// Source bytes that are fetched ahead: a row is read once, from memory more often than not.
constexpr Dim kAhead = 8192;

// Values k … of a segment, in vectors of kLanes and then of half as many: segments are often shorter than the processor's
// vectors.
template <std::size_t kLanes, class T>
HWY_INLINE void sum_segment(const SignedSums::Segment& segment, const SignedSums::Term* terms, Dim k, const T* source,
                            T* target) {
  using C = accumulate_t<T>;
  const hn::CappedTag<C, kLanes> d;
  for (; k + lanes(d) <= segment.count; k += lanes(d)) {
    auto sum = hn::Zero(d);
    for (std::size_t t = segment.first; t < segment.last; ++t) {
      const T* const from = source + terms[t].at + k;
      hwy::Prefetch(from + kAhead / static_cast<Dim>(sizeof(T)));
      sum = hn::MulAdd(hn::Set(d, static_cast<C>(terms[t].sign)), load(d, from), sum);
    }
    store(d, sum, target + segment.at + k);
  }
  if constexpr (kLanes > 1) {
    if (k < segment.count) sum_segment<kLanes / 2>(segment, terms, k, source, target);
  }
}

void sum_typed(DType dtype, std::span<const SignedSums::Segment> segments, const SignedSums::Term* terms, Dim rows,
               const void* source, Dim source_step, void* target, Dim target_step) {
  dispatch_floating(dtype, "ss1", [&]<class T>() {
    constexpr std::size_t kLanes = hn::MaxLanes(hn::ScalableTag<accumulate_t<T>>());
    const T* from = static_cast<const T*>(source);
    T* to = static_cast<T*>(target);
    for (Dim row = 0; row < rows; ++row) {
      for (const SignedSums::Segment& segment : segments) sum_segment<kLanes>(segment, terms, 0, from, to);
      from += source_step;
      to += target_step;
    }
  });
}

}  // namespace
}  // namespace ashlar::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {

HWY_EXPORT(sum_typed);

namespace ss1 {

void SignedSums::add(Dim begin, Dim end, std::span<const Run> runs) {
  std::vector<Dim> bounds{begin, end};
  for (const Run& run : runs) {
    if (run.count == 0) continue;
    bounds.push_back(std::clamp(run.to, begin, end));
    bounds.push_back(std::clamp(run.to + run.count, begin, end));
  }
  std::ranges::sort(bounds);
  for (std::size_t b = 0; b + 1 < bounds.size(); ++b) {
    const Dim at = bounds[b], next = bounds[b + 1];
    if (at == next) continue;
    const std::size_t first = terms_.size();
    for (const Run& run : runs) {
      if (run.to <= at && at < run.to + run.count) terms_.push_back({run.from + at - run.to, run.negative ? -1.0f : 1.0f});
    }
    segments_.push_back({at, next - at, first, terms_.size()});
  }
}

void SignedSums::apply(DType dtype, Dim rows, const void* source, Dim source_step, void* target, Dim target_step) const {
  ASHLAR_DISPATCH(sum_typed)(dtype, segments_, terms_.data(), rows, source, source_step, target, target_step);
}

}  // namespace ss1
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
