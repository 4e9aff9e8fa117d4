// The middle of BLAST: elementwise along the rank, a small matrix across the blocks.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels::blast {

// Blocks of `rows` by `width` values (width a multiple of the vector length L, rows without gaps), `block` apart:
// in (inputs, rows, width), out (outputs, rows, width). The coupling is stored vector by vector of the rank, so that
// what one vector needs is contiguous: s (width / L, pairs of blocks, L), output o and input i at o * s_out + i * s_in.
template <class T>
struct Coupling {
  Dim inputs, outputs, rows, width, block;
  const T* s;
  Dim s_in, s_out;
};

// Distance of blocks: an odd number of cache lines, so that the same value of all blocks does not compete for one set.
constexpr Dim block_size(Dim rows, Dim width) { return (rows * width + 15) / 16 / 2 * 32 + 16; }

// out_o = Σ_i s_oi * in_i
void couple(const Coupling<float>& coupling, const float* in, float* out);
void couple(const Coupling<double>& coupling, const double* in, double* out);

// ds_oi (laid out like s) = or += Σ_rows d_out_o * in_i
void couple_gradient(const Coupling<float>& coupling, const float* in, const float* d_out, bool accumulate, float* ds);
void couple_gradient(const Coupling<double>& coupling, const double* in, const double* d_out, bool accumulate,
                     double* ds);

}  // namespace ashlar::kernels::blast
