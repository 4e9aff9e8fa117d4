#include "kernels/blast/coupling.h"

#include <cstdint>

#include <hwy/cache_control.h>

#include "kernels/blast/coupling_loops.h"
#include "kernels/blast/hidden.h"
#include "kernels/blast/stream_rows.h"
#include "kernels/views.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blast/coupling.cpp"
#include "kernels/simd.h"
#include <hwy/foreach_target.h>
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::HWY_NAMESPACE {
namespace {

using namespace blast;

// Output blocks, and beside them rows or input blocks, so that the accumulators and their operands fit the registers: 32
// (AVX-512, Arm64) or 16.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;
constexpr int kBlockOut = kManyRegisters ? kWideBlock : kBlock;
constexpr int kBlockRows = kManyRegisters ? kBlock : 3, kBlockIn = kBlockRows;

// Inputs [begin, end) are also written to `to`, laid out as they are, past the caches.
template <class T>
struct Kept {
  T* to;
  Dim begin, end;
  Kept rows_from(const Coupling& g, Dim r) const { return {to ? to + r * g.in_row : to, begin, end}; }
};
// Only whole cache lines are worth writing so.
template <class T, class C>
constexpr bool kWritesLines = std::is_same_v<T, C> && lanes(Tag<C>()) * static_cast<Dim>(sizeof(C)) >= kLineBytes;

// One vector of the rank for kOutputs output blocks and kRows rows.
template <int kOutputs, int kRows, class T, class C>
HWY_INLINE void couple_block(const Coupling& g, const T* HWY_RESTRICT in, const C* HWY_RESTRICT s, T* HWY_RESTRICT out,
                             const Kept<T>& kept) {
  const Tag<C> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kOutputs][kRows];
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) sum[o][r] = hn::Zero(d);
  }
  for (Dim i = 0; i < g.inputs; ++i) {
    V a[kRows];
    for (int r = 0; r < kRows; ++r) a[r] = load(d, in + r * g.in_row);
    if constexpr (kWritesLines<T, C>) {
      if (i >= kept.begin && i < kept.end) {
        for (int r = 0; r < kRows; ++r) hn::Stream(a[r], d, kept.to + r * g.in_row + i * g.in_block);
      }
    }
    for (int o = 0; o < kOutputs; ++o) {
      const V sv = hn::LoadU(d, s + o * g.s_out);
      for (int r = 0; r < kRows; ++r) sum[o][r] = hn::MulAdd(sv, a[r], sum[o][r]);
    }
    in += g.in_block;
    s += g.s_in;
  }
  HWY_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) store(d, sum[o][r], out + o * g.out_block + r * g.out_row);
  }
}

template <int kOutputs, class T, class C>
void couple_rows(const Coupling& g, Dim rows, const T* in, const C* s, T* out, const Kept<T>& kept, Fetch& fetch) {
  Dim r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows) {
    fetch();
    couple_block<kOutputs, kBlockRows>(g, in + r * g.in_row, s, out + r * g.out_row, kept.rows_from(g, r));
  }
  for (; r < rows; ++r) {
    couple_block<kOutputs, 1>(g, in + r * g.in_row, s, out + r * g.out_row, kept.rows_from(g, r));
  }
}

// The outputs share the writing of `kept`, if there is one, so that it goes on all the time.
template <class T, class C>
void couple_all(const Coupling& g, const T* in, const C* packed, T* out, T* kept, const ConstView& next) {
  const Dim step = lanes(Tag<C>()), run = coupled_rows(g, kBlockRows);
  Fetch fetch(next, coupled_blocks(g, kBlockOut, kBlockRows, step));
  for_each_part(g, kBlockOut, kGroup, step, run, [&](Dim k, Dim row, Dim rows, Dim o, Dim outputs) {
    const Dim group = k / kGroup * kGroup, from = row * g.in_row + k;
    Kept<T> part{};
    if (kept) part = {kept + from, g.inputs * o / g.outputs, g.inputs * (o + outputs) / g.outputs};
    with_count(outputs, [&](auto count) {
      couple_rows<count>(g, rows, in + from, packed + group * g.inputs * g.outputs + o * g.s_out + k - group,
                         out + row * g.out_row + o * g.out_block + k, part, fetch);
    });
  });
}

// Gradients of kOutputs x kInputs couplings for a vector of the rank; ds points to the first of them.
template <int kOutputs, int kInputs, class T, class C>
HWY_INLINE void gradient_block(const Coupling& g, Dim rows, const T* HWY_RESTRICT in, const T* HWY_RESTRICT d_out,
                               bool accumulate, C* HWY_RESTRICT ds) {
  const Tag<C> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kOutputs][kInputs];
  for (int o = 0; o < kOutputs; ++o) {
    for (int i = 0; i < kInputs; ++i) sum[o][i] = hn::Zero(d);
  }
  for (Dim r = 0; r < rows; ++r) {
    V a[kInputs];
    for (int i = 0; i < kInputs; ++i) a[i] = load(d, in + i * g.in_block);
    for (int o = 0; o < kOutputs; ++o) {
      const V dv = load(d, d_out + o * g.out_block);
      for (int i = 0; i < kInputs; ++i) sum[o][i] = hn::MulAdd(dv, a[i], sum[o][i]);
    }
    in += g.in_row;
    d_out += g.out_row;
  }
  HWY_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o) {
    HWY_UNROLL(8)
    for (int i = 0; i < kInputs; ++i) {
      C* const to = ds + (o * g.inputs + i) * kGroup;
      hn::StoreU(accumulate ? hn::Add(sum[o][i], hn::LoadU(d, to)) : sum[o][i], d, to);
    }
  }
}

template <int kOutputs, class T, class C>
void gradient_outputs(const Coupling& g, Dim rows, const T* in, const T* d_out, bool accumulate, C* ds) {
  const Dim group = group_size(g.inputs, kBlockIn);
  for (Dim i = 0; i < g.inputs; i += group, in += group * g.in_block, ds += group * kGroup) {
    const Dim inputs = std::min(group, g.inputs - i);
    if (inputs == 4) gradient_block<kOutputs, 4>(g, rows, in, d_out, accumulate, ds);
    else if (inputs == 3) gradient_block<kOutputs, 3>(g, rows, in, d_out, accumulate, ds);
    else if (inputs == 2) gradient_block<kOutputs, 2>(g, rows, in, d_out, accumulate, ds);
    else gradient_block<kOutputs, 1>(g, rows, in, d_out, accumulate, ds);
  }
}

template <class T, class C>
void gradient_all(const Coupling& g, const T* in, const T* d_out, bool accumulate, C* ds) {
  const Dim step = lanes(Tag<C>()), run = gradient_rows(g);
  for_each_part(g, kBlockOut, kGroup, step, run, [&](Dim k, Dim row, Dim rows, Dim o, Dim outputs) {
    with_count(outputs, [&](auto count) {
      gradient_outputs<count>(g, rows, in + row * g.in_row + k, d_out + row * g.out_row + o * g.out_block + k,
                              accumulate || row > 0, ds + (k / kGroup * g.outputs + o) * g.inputs * kGroup + k % kGroup);
    });
  });
}

// Whether `kept`, where it is not null, was written.
bool couple_typed(DType dtype, const Coupling& g, const void* in, const void* s, void* out, void* kept,
                  const ConstView& next) {
  bool keeps = false;
  dispatch_floating(dtype, "couple", [&]<class T>() {
    using C = accumulate_t<T>;
    keeps = kWritesLines<T, C> && kept;
    couple_all(g, static_cast<const T*>(in), static_cast<const C*>(s), static_cast<T*>(out),
               keeps ? static_cast<T*>(kept) : nullptr, next);
    if (keeps) hwy::FlushStream();  // before another thread may read it
  });
  return keeps;
}
void gradient_typed(DType dtype, const Coupling& g, const void* in, const void* d_out, bool accumulate, void* ds) {
  dispatch_floating(dtype, "couple_gradient", [&]<class T>() {
    gradient_all(g, static_cast<const T*>(in), static_cast<const T*>(d_out), accumulate, static_cast<accumulate_t<T>*>(ds));
  });
}

}  // namespace
}  // namespace ashlar::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {

HWY_EXPORT(couple_typed);
HWY_EXPORT(gradient_typed);

namespace blast {

Array pack_coupling(const ConstView& s, DType activations) {
  const Dim outputs = s.size(0), inputs = s.size(1), rank = s.size(2), groups = ceil_div(rank, kGroup);
  const bool in_pairs = couples_pairs(activations);
  const Array packed = in_pairs ? Array::zeros({groups, outputs, ceil_div(inputs, 2), kGroup, 2}, DType::bf16)
                                : Array::zeros({groups, outputs, inputs, kGroup}, s.dtype);
  dispatch_floating(s.dtype, "pack_coupling", [&]<class T>() {
    for (Dim group = 0; group < groups; ++group) {
      const Dim count = std::min(kGroup, rank - group * kGroup);
      for (Dim o = 0; o < outputs; ++o) {
        for (Dim i = 0; i < inputs; ++i) {
          const T* const values = s.as<T>() + o * s.step(0) + i * s.step(1) + group * kGroup;
          if (in_pairs) {
            const Dim pair = (group * outputs + o) * ceil_div(inputs, 2) + i / 2;
            bfloat16* const to = packed.data<bfloat16>() + pair * 2 * kGroup + i % 2;
            for (Dim k = 0; k < count; ++k) to[2 * k] = convert<bfloat16>(values[k]);
          } else {
            std::copy_n(values, count, packed.data<T>() + ((group * outputs + o) * inputs + i) * kGroup);
          }
        }
      }
    }
  });
  return packed;
}

Array reverse_coupling(const Array& packed, const ConstView& s, DType activations) {
  if (packed.dtype() != DType::bf16) return packed.transpose(1, 2);
  return pack_coupling(strided(s, 0, {s.size(1), s.size(0), s.size(2)}, {s.step(1), s.step(0), 1}), activations);
}

void couple(const Array& packed, const ConstView& in, const View& out, const Beside& beside) {
  const ConstView s = packed;
  const View& kept = beside.kept;
  const Coupling g{in.size(0), in.size(2), in.size(1), out.size(1), in.step(0), in.step(1), out.step(0), out.step(1),
                   s.step(2), s.step(1)};
  bool keeps = false;
  if (s.dtype == DType::bf16) {
    couple_pairs(g, in.as<bfloat16>(), s.as<bfloat16>(), out.as<bfloat16>(), beside.next);
  } else {
    const bool in_lines = reinterpret_cast<std::uintptr_t>(kept.data) % kLineBytes == 0;
    void* const to = in_lines ? kept.data : nullptr;
    keeps = ASHLAR_DISPATCH(couple_typed)(in.dtype, g, in.data, s.data, out.data, to, beside.next);
  }
  if (kept && !keeps) stream_rows(whole_rows(in), whole_rows(kept));
}

void couple_gradient(const ConstView& a, const ConstView& dc, bool accumulate, const View& ds) {
  const Coupling g{a.size(0), a.size(2), a.size(1), dc.size(1), a.step(0), a.step(1), dc.step(0), dc.step(1), 0, 0};
  if (couples_pairs(a.dtype)) gradient_pairs(g, a.as<bfloat16>(), dc.as<bfloat16>(), accumulate, ds.as<float>());
  else ASHLAR_DISPATCH(gradient_typed)(a.dtype, g, a.data, dc.data, accumulate, ds.data);
}

void unpack_gradient(const ConstView& packed, const View& ds) {
  const Dim couplings = ds.size(0) * ds.size(1), rank = ds.size(2);
  dispatch_floating(ds.dtype, "unpack_gradient", [&]<class T>() {
    for (Dim coupling = 0; coupling < couplings; ++coupling) {
      for (Dim k = 0; k < rank; k += kGroup) {
        std::copy_n(packed.as<T>() + (k / kGroup * couplings + coupling) * kGroup, std::min(kGroup, rank - k),
                    ds.as<T>() + coupling * rank + k);
      }
    }
  });
}

}  // namespace blast
}  // namespace ashlar::kernels
#endif
