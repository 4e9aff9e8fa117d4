// Dropout on the CPU: Philox on vectors, a block of four numbers a lane (core/random.h is the definition).
#include <cmath>
#include <cstring>

#include "core/random.h"
#include "kernels/dropout/dropout.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout/cpu.cpp"
#include "hwy/foreach_target.h"
#include "kernels/simd-inl.h"

#ifndef ASHLAR_KERNELS_DROPOUT_ONCE
#define ASHLAR_KERNELS_DROPOUT_ONCE
namespace ashlar::kernels {
namespace {

constexpr Dim kWords = 1024;  // random words made at a time; they stay in the L1 cache

// uniform(index) = (bits >> 8) 2^-24 >= p exactly when (bits >> 8) >= ceil(p 2^24).
std::uint32_t threshold_of(const DropMask& mask) { return static_cast<std::uint32_t>(std::ceil(mask.p * 0x1p24)); }

}  // namespace
}  // namespace ashlar::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels {
namespace HWY_NAMESPACE {
namespace {

// words[0 … count): those of Random(key, stream) from block `first` on; count is a multiple of 4 lanes.
template <class D>
void random_words(D d, const DropMask& mask, std::uint64_t first, Dim count, std::uint32_t* words) {
  if constexpr (lanes(d) == 1) {
    for (Dim i = 0; i < count; i += 4) {
      const auto block = Random(mask.key, mask.stream).block(first + static_cast<std::uint64_t>(i) / 4);
      for (std::size_t k = 0; k < 4; ++k) words[i + static_cast<Dim>(k)] = block[k];
    }
  } else {
    // A 64-bit lane holds one 32-bit word of a block; its upper half is rubbish that nobody reads.
    const hn::Repartition<std::uint32_t, decltype(d)> d32;
    const auto m0 = hn::Set(d32, 0xD2511F53u), m1 = hn::Set(d32, 0xCD9E8D57u);
    for (Dim i = 0; i < count; i += 4 * lanes(d)) {
      auto c0 = hn::Iota(d, first + static_cast<std::uint64_t>(i) / 4), c1 = hn::ShiftRight<32>(c0);
      auto c2 = hn::Set(d, mask.stream), c3 = hn::ShiftRight<32>(c2);
      auto k0 = static_cast<std::uint32_t>(mask.key), k1 = static_cast<std::uint32_t>(mask.key >> 32);
      for (int round = 0; round < 10; ++round) {
        const auto p0 = hn::MulEven(hn::BitCast(d32, c0), m0), p1 = hn::MulEven(hn::BitCast(d32, c2), m1);
        c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, k0));
        c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, k1));
        c1 = p1;
        c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
      }
      const auto low = hn::Set(d, 0xffffffffu);
      const auto c01 = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
      const auto c23 = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
      hn::StoreInterleaved2(c01, c23, d, reinterpret_cast<std::uint64_t*>(words + i));
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
  const std::uint32_t threshold = threshold_of(mask);
  for (Dim block = begin; block < end; block += kWords) {
    const Dim count = end - block < kWords ? end - block : kWords;
    random_words(hn::ScalableTag<std::uint64_t>(), mask, static_cast<std::uint64_t>(block) / 4, kWords, words);
    if constexpr (sizeof(T) == 8) {
      for (Dim i = 0; i < count; ++i) y[block + i] = (words[i] >> 8) >= threshold ? x[block + i] * scale : 0;
    } else {
      const auto factor = hn::Set(d, scale);
      const auto limit = hn::Set(di32, static_cast<std::int32_t>(threshold));
      for (Dim i = 0; i < count; i += lanes(d)) {
        const Dim rest = count - i;
        const auto v = rest < lanes(d) ? load_some(d, x + block + i, rest) : load(d, x + block + i);
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
namespace {

void check(std::string_view operation, const ConstView& x, const DropMask& mask, const View& y) {
  ASHLAR_CHECK(x.shape == y.shape && x.dtype == y.dtype && x.contiguous() && y.contiguous(), operation,
               ": x and y must be contiguous, of one shape and dtype, got ", x.shape, " ", x.dtype, " and ", y.shape,
               " ", y.dtype);
  ASHLAR_CHECK(mask.p >= 0 && mask.p <= 1, operation, ": p must be in [0, 1], got ", mask.p);
}

}  // namespace

void dropout(const Exec&, ConstView x, DropMask mask, View y) {
  check("dropout", x, mask, y);
  const Dim count = x.numel(), blocks = (count + kWords - 1) / kWords;
  const auto run = ASHLAR_DISPATCH(dropout_range);
  parallel_for(blocks, kGrain / kWords / 4, [&](Dim begin, Dim end) {
    run(x, mask, y, begin * kWords, std::min(count, end * kWords));
  });
}

void drop_path(const Exec&, ConstView x, DropMask mask, View y) {
  check("drop_path", x, mask, y);
  ASHLAR_CHECK(x.shape.ndim() >= 1, "drop_path: needs a dimension of samples, got a scalar");
  if (x.numel() == 0) return;
  const Dim sample = x.numel() / x.size(0);
  const Random random(mask.key, mask.stream);
  const std::uint32_t threshold = threshold_of(mask);
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
