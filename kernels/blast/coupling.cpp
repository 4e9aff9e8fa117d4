#include "kernels/blast/coupling.h"

#include <algorithm>

#include "kernels/small_gemm/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blast/coupling.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::blast::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Accumulators: kOutputs x kRows (or x kInputs) vectors; 4 x 3 with 4 + 3 operands is what 16 registers hold.
constexpr int kBlockOut = 4, kBlockRows = 3, kBlockIn = 3;
// What couple() and couple_gradient() read again and again should stay in the first-level cache.
constexpr Dim kInputBytes = 12 * 1024, kGradientBytes = 40 * 1024;

// `count` blocks in nearly equal groups of at most `most`: 6 by 4 is 3 + 3, not 4 + 2.
constexpr Dim group_size(Dim count, Dim most) {
  const Dim groups = (count + most - 1) / most;
  return (count + groups - 1) / groups;
}

// One vector of the rank for kOutputs output blocks and kRows rows.
template <int kOutputs, int kRows, class T>
HWY_INLINE void couple_block(const Coupling<T>& g, const T* HWY_RESTRICT in, const T* HWY_RESTRICT s,
                             T* HWY_RESTRICT out) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kOutputs][kRows];
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) sum[o][r] = hn::Zero(d);
  }
  for (Dim i = 0; i < g.inputs; ++i) {
    V a[kRows];
    for (int r = 0; r < kRows; ++r) a[r] = hn::LoadU(d, in + r * g.width);
    for (int o = 0; o < kOutputs; ++o) {
      const V sv = hn::LoadU(d, s + o * g.s_out);
      for (int r = 0; r < kRows; ++r) sum[o][r] = hn::MulAdd(sv, a[r], sum[o][r]);
    }
    in += g.block;
    s += g.s_in;
  }
  HWY_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) hn::StoreU(sum[o][r], d, out + o * g.block + r * g.width);
  }
}

template <int kOutputs, class T>
void couple_rows(const Coupling<T>& g, Dim rows, const T* in, const T* s, T* out) {
  Dim r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows) {
    couple_block<kOutputs, kBlockRows>(g, in + r * g.width, s, out + r * g.width);
  }
  for (; r < rows; ++r) couple_block<kOutputs, 1>(g, in + r * g.width, s, out + r * g.width);
}

// Two vectors of the rank at a time (a cache line in AVX2), so that all of their s stays in the first-level cache, and
// a run of rows, so that their inputs do too.
template <class T>
void couple_all(const Coupling<T>& g, const T* in, T* out) {
  const Dim lanes = static_cast<Dim>(hn::Lanes(hn::ScalableTag<T>()));
  const Dim s_vector = g.inputs * g.outputs;  // times lanes
  const Dim group = group_size(g.outputs, kBlockOut);
  const Dim run = std::max<Dim>(1, kInputBytes / (64 * g.inputs * kBlockRows)) * kBlockRows;
  for (Dim pair = 0; pair < g.width; pair += 2 * lanes) {
    const Dim pair_end = std::min(pair + 2 * lanes, g.width);
    for (Dim row = 0; row < g.rows; row += run) {
      const Dim rows = std::min(run, g.rows - row);
      for (Dim o = 0; o < g.outputs; o += group) {
        const Dim outputs = std::min(group, g.outputs - o);
        for (Dim k = pair; k < pair_end; k += lanes) {
          const T* const from = in + row * g.width + k;
          const T* const s = g.s + o * g.s_out + k * s_vector;
          T* const to = out + o * g.block + row * g.width + k;
          if (outputs == 4) couple_rows<4>(g, rows, from, s, to);
          else if (outputs == 3) couple_rows<3>(g, rows, from, s, to);
          else if (outputs == 2) couple_rows<2>(g, rows, from, s, to);
          else couple_rows<1>(g, rows, from, s, to);
        }
      }
    }
  }
}

template <int kOutputs, int kInputs, class T>
HWY_INLINE void gradient_block(const Coupling<T>& g, Dim rows, const T* HWY_RESTRICT in, const T* HWY_RESTRICT d_out,
                               bool accumulate, T* HWY_RESTRICT ds) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kOutputs][kInputs];
  for (int o = 0; o < kOutputs; ++o) {
    for (int i = 0; i < kInputs; ++i) sum[o][i] = hn::Zero(d);
  }
  for (Dim r = 0; r < rows; ++r) {
    V a[kInputs];
    for (int i = 0; i < kInputs; ++i) a[i] = hn::LoadU(d, in + i * g.block);
    for (int o = 0; o < kOutputs; ++o) {
      const V dv = hn::LoadU(d, d_out + o * g.block);
      for (int i = 0; i < kInputs; ++i) sum[o][i] = hn::MulAdd(dv, a[i], sum[o][i]);
    }
    in += g.width;
    d_out += g.width;
  }
  if (accumulate) {
    HWY_UNROLL(8)
    for (int o = 0; o < kOutputs; ++o) {
      HWY_UNROLL(8)
      for (int i = 0; i < kInputs; ++i) {
        sum[o][i] = hn::Add(sum[o][i], hn::LoadU(d, ds + o * g.s_out + i * g.s_in));
      }
    }
  }
  HWY_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o) {
    HWY_UNROLL(8)
    for (int i = 0; i < kInputs; ++i) hn::StoreU(sum[o][i], d, ds + o * g.s_out + i * g.s_in);
  }
}

template <int kOutputs, class T>
void gradient_outputs(const Coupling<T>& g, Dim rows, const T* in, const T* d_out, bool accumulate, T* ds) {
  const Dim group = group_size(g.inputs, kBlockIn);
  for (Dim i = 0; i < g.inputs; i += group) {
    const T* const from = in + i * g.block;
    T* const to = ds + i * g.s_in;
    const Dim inputs = std::min(group, g.inputs - i);
    if (inputs == 3) gradient_block<kOutputs, 3>(g, rows, from, d_out, accumulate, to);
    else if (inputs == 2) gradient_block<kOutputs, 2>(g, rows, from, d_out, accumulate, to);
    else gradient_block<kOutputs, 1>(g, rows, from, d_out, accumulate, to);
  }
}

// Two vectors of the rank and a run of rows at a time: what that is in all blocks fits the first-level cache.
template <class T>
void gradient_all(const Coupling<T>& g, const T* in, const T* d_out, bool accumulate, T* ds) {
  const Dim lanes = static_cast<Dim>(hn::Lanes(hn::ScalableTag<T>()));
  const Dim s_vector = g.inputs * g.outputs;  // times lanes
  const Dim group = group_size(g.outputs, kBlockOut);
  const Dim run = std::clamp<Dim>(kGradientBytes / (64 * (g.inputs + g.outputs)), 8, 64);
  for (Dim pair = 0; pair < g.width; pair += 2 * lanes) {
    const Dim pair_end = std::min(pair + 2 * lanes, g.width);
    for (Dim row = 0; row < g.rows; row += run) {
      const Dim rows = std::min(run, g.rows - row);
      const bool add = accumulate || row > 0;
      for (Dim o = 0; o < g.outputs; o += group) {
        const Dim outputs = std::min(group, g.outputs - o);
        for (Dim k = pair; k < pair_end; k += lanes) {
          const T* const from = in + row * g.width + k;
          const T* const gradient = d_out + o * g.block + row * g.width + k;
          T* const to = ds + o * g.s_out + k * s_vector;
          if (outputs == 4) gradient_outputs<4>(g, rows, from, gradient, add, to);
          else if (outputs == 3) gradient_outputs<3>(g, rows, from, gradient, add, to);
          else if (outputs == 2) gradient_outputs<2>(g, rows, from, gradient, add, to);
          else gradient_outputs<1>(g, rows, from, gradient, add, to);
        }
      }
    }
  }
}

void couple_f32(const Coupling<float>& g, const float* in, float* out) { couple_all(g, in, out); }
void couple_f64(const Coupling<double>& g, const double* in, double* out) { couple_all(g, in, out); }
void gradient_f32(const Coupling<float>& g, const float* in, const float* d_out, bool accumulate, float* ds) {
  gradient_all(g, in, d_out, accumulate, ds);
}
void gradient_f64(const Coupling<double>& g, const double* in, const double* d_out, bool accumulate, double* ds) {
  gradient_all(g, in, d_out, accumulate, ds);
}

}  // namespace ashlar::kernels::blast::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels::blast {

HWY_EXPORT(couple_f32);
HWY_EXPORT(couple_f64);
HWY_EXPORT(gradient_f32);
HWY_EXPORT(gradient_f64);

void couple(const Coupling<float>& coupling, const float* in, float* out) {
  HWY_DYNAMIC_DISPATCH(couple_f32)(coupling, in, out);
}
void couple(const Coupling<double>& coupling, const double* in, double* out) {
  HWY_DYNAMIC_DISPATCH(couple_f64)(coupling, in, out);
}
void couple_gradient(const Coupling<float>& coupling, const float* in, const float* d_out, bool accumulate, float* ds) {
  HWY_DYNAMIC_DISPATCH(gradient_f32)(coupling, in, d_out, accumulate, ds);
}
void couple_gradient(const Coupling<double>& coupling, const double* in, const double* d_out, bool accumulate,
                     double* ds) {
  HWY_DYNAMIC_DISPATCH(gradient_f64)(coupling, in, d_out, accumulate, ds);
}

}  // namespace ashlar::kernels::blast
#endif
