// Dropout on the CPU: Philox on vectors, a block of four numbers a lane (core/random.h is the definition).
#include <cmath>
#include <cstring>

#include "core/random.h"
#include "core/rounding.h"
#include "kernels/dropout/checks.h"
#include "kernels/dropout/dropout.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout/cpu.cpp"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr std::size_t kWords = 1024;  // random words made at a time; they stay in the L1 cache

// Four words of Philox blocks, a block a 64-bit lane. The upper half of a lane is never read.
template <class D>
struct Blocks {
  hn::Vec<D> c0, c1, c2, c3;
};

template <class D>
HWY_INLINE Blocks<D> first_round_input(D d, std::uint64_t block, std::uint64_t stream) {
  const auto low = hn::Iota(d, block), high = hn::Set(d, stream);
  return {low, hn::ShiftRight<32>(low), high, hn::ShiftRight<32>(high)};
}

template <class D>
HWY_INLINE Blocks<D> philox_round(D, const Blocks<D>& c, hn::Vec<D> k0, hn::Vec<D> k1) {
  const hn::Repartition<std::uint32_t, D> d32;
  const auto p0 = hn::MulEven(hn::BitCast(d32, c.c0), hn::Set(d32, 0xD2511F53u));
  const auto p1 = hn::MulEven(hn::BitCast(d32, c.c2), hn::Set(d32, 0xCD9E8D57u));
  return {hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c.c1), k0), p1,
          hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c.c3), k1), p0};
}

template <class D>
HWY_INLINE void store_words(D d, const Blocks<D>& c, std::uint32_t* words) {
  const auto low = hn::Set(d, 0xffffffffu);
  const auto c01 = hn::Or(hn::And(c.c0, low), hn::ShiftLeft<32>(c.c1));
  const auto c23 = hn::Or(hn::And(c.c2, low), hn::ShiftLeft<32>(c.c3));
  hn::StoreInterleaved2(c01, c23, d, reinterpret_cast<std::uint64_t*>(words));
}

// words[0 … kWords): those of Random(key, stream) from block `first` on.
template <class D>
void random_words(D d, const DropMask& mask, std::uint64_t first, std::uint32_t* words) {
  if constexpr (hn::MaxLanes(d) == 1) {
    const Random random(mask.key, mask.stream);
    for (std::size_t i = 0; i < kWords; i += 4) {
      const auto block = random.block(first + i / 4);
      for (std::size_t k = 0; k < 4; ++k) words[i + k] = block[k];
    }
  } else {
    constexpr std::size_t kLanes = hn::MaxLanes(d);
    for (std::size_t i = 0; i < kWords; i += 8 * kLanes) {
      // Two vectors at a time: each round waits for the product of the one before.
      auto a = first_round_input(d, first + i / 4, mask.stream);
      auto b = first_round_input(d, first + i / 4 + kLanes, mask.stream);
      auto k0 = static_cast<std::uint32_t>(mask.key), k1 = static_cast<std::uint32_t>(mask.key >> 32);
      for (int round = 0; round < 10; ++round) {
        const auto key0 = hn::Set(d, k0), key1 = hn::Set(d, k1);
        a = philox_round(d, a, key0, key1);
        b = philox_round(d, b, key0, key1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
      }
      store_words(d, a, words + i);
      store_words(d, b, words + i + 4 * kLanes);
    }
  }
}

template <class T>
void dropout_of(const T* x, const DropMask& mask, T* y, Dim begin, Dim end) {
  using A = accumulate_t<T>;
  const Tag<T> d;
  const hn::ScalableTag<std::uint32_t> d32;
  const hn::ScalableTag<std::int32_t> di32;  // 24-bit numbers: the cheaper signed comparison will do
  alignas(64) std::uint32_t words[kWords];
  const A scale = static_cast<A>(1 / (1 - mask.p));
  const std::uint32_t threshold = drop::threshold_of(mask);
  constexpr Dim step = kWords;
  for (Dim block = begin; block < end; block += step) {
    const Dim count = end - block < step ? end - block : step;
    random_words(hn::ScalableTag<std::uint64_t>(), mask, static_cast<std::uint64_t>(block) / 4, words);
    if constexpr (sizeof(T) == 8) {
      for (Dim i = 0; i < count; ++i) y[block + i] = (words[i] >> 8) >= threshold ? x[block + i] * scale : 0;
    } else {
      const auto factor = hn::Set(d, scale);
      const auto limit = hn::Set(di32, static_cast<std::int32_t>(threshold));
      for (Dim i = 0; i < count; i += lanes(d)) {
        const Dim rest = count - i;
        const auto v = load_up_to(d, x + block + i, rest);
        const auto drop = hn::Gt(limit, hn::BitCast(di32, hn::ShiftRight<8>(hn::Load(d32, words + i))));
        const auto kept = hn::IfThenZeroElse(hn::RebindMask(d, drop), hn::Mul(v, factor));
        if (rest < lanes(d)) store_some(d, kept, y + block + i, rest);
        else store(d, kept, y + block + i);
      }
    }
  }
}

// Elements [begin, end); begin is a multiple of 4.
void dropout_range(const ConstView& x, const DropMask& mask, const View& y, Dim begin, Dim end) {
  dispatch_floating(x.dtype, "dropout", [&]<class T>() HWY_ATTR {
    dropout_of(x.as<T>(), mask, y.as<T>(), begin, end);
  });
}

void scale_range(DType dtype, const void* x, double factor, void* y, Dim count) {
  dispatch_floating(dtype, "drop_path", [=]<class T>() HWY_ATTR {
    const Tag<T> d;
    const auto factor_v = hn::Set(d, static_cast<accumulate_t<T>>(factor));
    map(d, count, [=](auto v) HWY_ATTR { return hn::Mul(v, factor_v); }, static_cast<T*>(y),
        static_cast<const T*>(x));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ashlar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {
HWY_EXPORT(dropout_range);
HWY_EXPORT(scale_range);

namespace cpu {
void dropout(const Exec&, ConstView x, DropMask mask, View y) {
  drop::check("dropout", x, mask, y);
  mask.stream = drop::stream_of(mask);
  constexpr Dim step = HWY_NAMESPACE::kWords;
  const Dim count = x.numel(), blocks = ceil_div(count, step);
  const auto run = ASHLAR_DISPATCH(dropout_range);
  parallel_for(blocks, kGrain / step / 4, [&](Dim begin, Dim end) {
    run(x, mask, y, begin * step, std::min(count, end * step));
  });
}

void drop_path(const Exec&, ConstView x, DropMask mask, View y) {
  drop::check("drop_path", x, mask, y);
  ASHLAR_CHECK(x.shape.ndim() >= 1, "drop_path: needs a dimension of samples, got a scalar");
  if (x.numel() == 0) return;
  const Dim sample = x.numel() / x.size(0);
  const Random random(mask.key, drop::stream_of(mask));
  const std::uint32_t threshold = drop::threshold_of(mask);
  const double scale = 1 / (1 - mask.p);
  const auto run = ASHLAR_DISPATCH(scale_range);
  parallel_for(x.size(0), row_grain(sample), [&](Dim begin, Dim end) {
    for (Dim s = begin; s < end; ++s) {
      void* to = advance(y.data, y.dtype, s * sample);
      const bool kept = (random.bits(static_cast<std::uint64_t>(s)) >> 8) >= threshold;
      if (kept) run(x.dtype, advance(x.data, x.dtype, s * sample), scale, to, sample);
      else std::memset(to, 0, static_cast<std::size_t>(sample) * size_of(y.dtype));
    }
  });
}

}  // namespace cpu
}  // namespace ashlar::kernels
#endif  // HWY_ONCE
