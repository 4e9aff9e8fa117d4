// The middle of BLAST: elementwise along the rank, a small matrix across the blocks.
#pragma once
#include "core/array.h"

namespace ashlar::kernels::blast {

// Values of the rank that are taken at a time: a cache line of f32.
constexpr Dim kGroup = 16;

// s (b1, b2, r) for couple() with couplings s_oi: cut along the rank, with zeros in the padding, (ceil(r / kGroup), b1, b2,
// kGroup). For activations that the processor multiplies in bf16 it is rounded to bf16 and holds pairs of inputs:
// (ceil(r / kGroup), b1, ceil(b2 / 2), kGroup, 2).
Array pack_coupling(const ConstView& s, DType activations);
// The same with s_io, from b1 to b2 blocks: `packed`, seen the other way, unless it holds pairs.
Array reverse_coupling(const Array& packed, const ConstView& s, DType activations);

// What couple() does beside its arithmetic, which leaves memory idle.
struct Beside {
  View kept;       // becomes a copy of `in`, laid out alike, past the caches; anything in its padding
  ConstView next;  // rows (R, values) that will be read soon: brought into the caches
};

// out[t, o] = Σ_i s_oi * in[t, i].
//   in (R, inputs, r), out (R, outputs, r), both of the dtype of activations and with blocks blast_padded_rank(r) apart:
// what lies in the padding is read and written, but mixes with nothing.
void couple(const Array& packed, const ConstView& in, const View& out, const Beside& beside = {});

// ds_ij = or += Σ_t dc[t, i] * a[t, j].  a (R, b2, r), dc (R, b1, r), as above; ds (ceil(r / kGroup), b1, b2, kGroup),
// contiguous and in the master dtype, with anything in its padding.
void couple_gradient(const ConstView& a, const ConstView& dc, bool accumulate, const View& ds);
// ds (b1, b2, r) of what couple_gradient() made.
void unpack_gradient(const ConstView& packed, const View& ds);

}  // namespace ashlar::kernels::blast
