// The coupling by products of bf16, two at a time: pairs of inputs in couple(), pairs of rows in couple_gradient().
#include "kernels/bf16-inl.h"
#include "kernels/blast/coupling_loops.h"
#include "kernels/matmul/matmul.h"
#include "kernels/small_gemm/pair_gemm.h"

namespace ashlar::kernels::blast {

#if defined(__x86_64__)

bool couples_pairs(DType activations) { return activations == DType::bf16 && multiplies_bf16(Device{}); }

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)
namespace {

static_assert(kGroup == kPairLanes);

HWY_INLINE __m256i load_group(const bfloat16* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// A group of the rank for kOutputs output blocks and kRows rows.
template <int kOutputs, int kRows>
HWY_INLINE void couple_block(const Coupling& g, const bfloat16* in, const Pair* s, bfloat16* out) {
  __m512 sum[kOutputs][kRows];
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) sum[o][r] = _mm512_setzero_ps();
  }
  const Dim pair_count = ceil_div(g.inputs, 2);
  for (Dim i = 0; i < g.inputs; i += 2, s += kGroup, in += 2 * g.in_block) {
    __m512i a[kRows];
    for (int r = 0; r < kRows; ++r) {
      const bfloat16* const first = in + r * g.in_row;
      a[r] = pairs(load_group(first), i + 1 < g.inputs ? load_group(first + g.in_block) : _mm256_setzero_si256());
    }
    for (int o = 0; o < kOutputs; ++o) {
      const __m512i factors = _mm512_loadu_si512(s + o * pair_count * kGroup);
      for (int r = 0; r < kRows; ++r) sum[o][r] = add_products(sum[o][r], factors, a[r]);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) {
      bfloat16* const to = out + o * g.out_block + r * g.out_row;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded(sum[o][r]));
    }
  }
}

template <int kOutputs>
void couple_rows(const Coupling& g, Dim rows, const bfloat16* in, const Pair* s, bfloat16* out, Fetch& fetch) {
  Dim r = 0;
  for (; r + kBlock <= rows; r += kBlock) {
    fetch();
    couple_block<kOutputs, kBlock>(g, in + r * g.in_row, s, out + r * g.out_row);
  }
  for (; r < rows; ++r) couple_block<kOutputs, 1>(g, in + r * g.in_row, s, out + r * g.out_row);
}

// Gradients of kOutputs x kInputs couplings for a group of the rank; ds points to the first of them.
template <int kOutputs, int kInputs>
HWY_INLINE void gradient_block(const Coupling& g, Dim rows, const bfloat16* in, const bfloat16* d_out, bool accumulate,
                               float* ds) {
  __m512 sum[kOutputs][kInputs];
  for (int o = 0; o < kOutputs; ++o) {
    for (int i = 0; i < kInputs; ++i) sum[o][i] = _mm512_setzero_ps();
  }
  for (Dim r = 0; r < rows; r += 2, in += 2 * g.in_row, d_out += 2 * g.out_row) {
    const bool both = r + 1 < rows;
    __m512i a[kInputs];
    for (int i = 0; i < kInputs; ++i) {
      const bfloat16* const first = in + i * g.in_block;
      a[i] = pairs(load_group(first), both ? load_group(first + g.in_row) : _mm256_setzero_si256());
    }
    for (int o = 0; o < kOutputs; ++o) {
      const bfloat16* const first = d_out + o * g.out_block;
      const __m512i d = pairs(load_group(first), both ? load_group(first + g.out_row) : _mm256_setzero_si256());
      for (int i = 0; i < kInputs; ++i) sum[o][i] = add_products(sum[o][i], d, a[i]);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int i = 0; i < kInputs; ++i) {
      float* const to = ds + (o * g.inputs + i) * kGroup;
      _mm512_storeu_ps(to, accumulate ? _mm512_add_ps(_mm512_loadu_ps(to), sum[o][i]) : sum[o][i]);
    }
  }
}

template <int kOutputs>
void gradient_outputs(const Coupling& g, Dim rows, const bfloat16* in, const bfloat16* d_out, bool accumulate, float* ds) {
  const Dim group = group_size(g.inputs, kBlock);
  for (Dim i = 0; i < g.inputs; i += group, in += group * g.in_block, ds += group * kGroup) {
    const Dim inputs = std::min(group, g.inputs - i);
    if (inputs == 4) gradient_block<kOutputs, 4>(g, rows, in, d_out, accumulate, ds);
    else if (inputs == 3) gradient_block<kOutputs, 3>(g, rows, in, d_out, accumulate, ds);
    else if (inputs == 2) gradient_block<kOutputs, 2>(g, rows, in, d_out, accumulate, ds);
    else gradient_block<kOutputs, 1>(g, rows, in, d_out, accumulate, ds);
  }
}

}  // namespace
HWY_POP_ATTRIBUTES

// Two groups of the rank, a cache line, at a time.
void couple_pairs(const Coupling& g, const bfloat16* in, const bfloat16* packed, bfloat16* out, const ConstView& next) {
  const Dim pair_count = ceil_div(g.inputs, 2);
  const Pair* const s = reinterpret_cast<const Pair*>(packed);
  const Dim run = coupled_rows(g, kBlock);
  Fetch fetch(next, coupled_blocks(g, kWideBlock, kBlock, kGroup));
  for_each_part(g, kWideBlock, 2 * kGroup, kGroup, run, [&](Dim k, Dim row, Dim rows, Dim o, Dim outputs) {
    with_count(outputs, [&](auto count) {
      couple_rows<count>(g, rows, in + row * g.in_row + k, s + (k / kGroup * g.outputs + o) * pair_count * kGroup,
                         out + row * g.out_row + o * g.out_block + k, fetch);
    });
  });
}

void gradient_pairs(const Coupling& g, const bfloat16* in, const bfloat16* d_out, bool accumulate, float* ds) {
  for_each_part(g, kWideBlock, 2 * kGroup, kGroup, gradient_rows(g), [&](Dim k, Dim row, Dim rows, Dim o, Dim outputs) {
    with_count(outputs, [&](auto count) {
      gradient_outputs<count>(g, rows, in + row * g.in_row + k, d_out + row * g.out_row + o * g.out_block + k,
                              accumulate || row > 0, ds + (k / kGroup * g.outputs + o) * g.inputs * kGroup);
    });
  });
}

#else

bool couples_pairs(DType) { return false; }
void couple_pairs(const Coupling&, const bfloat16*, const bfloat16*, bfloat16*, const ConstView&) {}
void gradient_pairs(const Coupling&, const bfloat16*, const bfloat16*, bool, float*) {}

#endif

}  // namespace ashlar::kernels::blast
