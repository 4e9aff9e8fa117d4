// The middle of BLAST: elementwise along the rank, a small matrix across the blocks.
#pragma once
#include "core/array.h"

namespace ashlar::kernels::blast {

// Values of the rank that are taken at a time: a cache line of f32.
constexpr Dim kGroup = 16;

// s (b1, b2, r) cut along the rank as couple() reads it: (ceil(r / kGroup), b1, b2, kGroup), zeros in the padding.
Array pack_coupling(const ConstView& s);

// out[t, o] = Σ_i s_oi * in[t, i]; `reverse`: Σ_i s_io * in[t, i].
//   packed by pack_coupling; in (R, b2, r) and out (R, b1, r), with `reverse` (R, b1, r) and (R, b2, r), of one dtype
// with blocks blast_padded_rank(r) apart: what lies in the padding is read and written, but mixes with nothing.
void couple(const Array& packed, bool reverse, const ConstView& in, const View& out);

// ds_ij = or += Σ_t dc[t, i] * a[t, j].  a (R, b2, r), dc (R, b1, r); ds (b1, b2, r) contiguous, master dtype.
void couple_gradient(const ConstView& a, const ConstView& dc, bool accumulate, const View& ds);

}  // namespace ashlar::kernels::blast
