// The middle of BLAST: elementwise along the rank, a small matrix across the blocks.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels::blast {

// Blocks of `rows` by `width` values (width a multiple of the vector length, rows without gaps, blocks one after
// another): in (inputs, rows, width), out (outputs, rows, width). s[o * s_out + i * s_in + k] couples block i to o.
template <class T>
struct Coupling {
  Dim inputs, outputs, rows, width;
  const T* s;
  Dim s_in, s_out;
};

// out_o = Σ_i s_oi * in_i
void couple(const Coupling<float>& coupling, const float* in, float* out);
void couple(const Coupling<double>& coupling, const double* in, double* out);

// ds_oi (laid out like s) = or += Σ_rows d_out_o * in_i
void couple_gradient(const Coupling<float>& coupling, const float* in, const float* d_out, bool accumulate, float* ds);
void couple_gradient(const Coupling<double>& coupling, const double* in, const double* d_out, bool accumulate,
                     double* ds);

}  // namespace ashlar::kernels::blast
