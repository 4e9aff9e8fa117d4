// The kernels of BLAST's coupling on CUDA.
#pragma once
#include <algorithm>

#include "core/device.h"
#include "core/rounding.h"
#include "core/view.h"
#include "kernels/fusion.h"

namespace ashlar::kernels::blast {

// The coupling between a (R, inputs, r) and c (R, outputs, r), in the dtype of x, whose rows lie multiples of r apart:
//   c_i = Σ_j s_ij * a_j, with s_ij at s + i * s_out + j * s_in (r values, master dtype).
struct CouplingSteps {
  Dim outputs, inputs, s_out, s_in;
};
void couple(const Exec& exec, const ConstView& a, const ConstView& s, const CouplingSteps& steps, const View& c);
// Both at once where fuses(): a_j = x_j factor_j, written only if `a` is given, and c as above.
// x (R, n), factor (inputs, length, r).
bool fuses(const Exec& exec, const ConstView& x, const ConstView& factor, Dim outputs);
void coupled_product(const Exec& exec, const ConstView& x, const ConstView& factor, const ConstView& s,
                     const CouplingSteps& steps, const View& a, const View& c);
// Whether that takes less time than products and a pass, by the count of kernels/fusion.h. A block of the kernel has so many
// columns of the rank, and its multiprocessor for itself: it writes C after its products. A is counted as kept: written beside
// them, it decides nothing.
struct FusedSizes {
  Dim features, inputs, outputs, rank;
};
constexpr bool fusing_pays(const FusedSizes& s, Dim columns, double rate) {
  const auto n = static_cast<double>(s.features), r = static_cast<double>(s.rank);
  const auto a = static_cast<double>(s.inputs) * r, c = static_cast<double>(s.outputs) * r;
  const auto tiled = static_cast<double>(round_up(s.rank, columns));
  return time_of(n * tiled, n + a, rate) + time_of(0, c) <= time_of(n * r, n + a) + time_of(0, a + c);
}
// ds_ij = Σ_rows dc_i * a_j: a (R, b2, r), dc (R, b1, r), rows anywhere; ds (b1, b2, r) contiguous, master dtype.
void couple_gradient(const Exec& exec, const ConstView& a, const ConstView& dc, const View& ds);
// Into how many chunks it divides the rows, with `tiles` blocks for each: as many as run at once, of `slots` blocks, because a
// few more would take as long as twice as many; but the sums of chunks have to be worth adding up.
constexpr Dim gradient_chunks(Dim rows, Dim tiles, Dim slots) {
  constexpr Dim kLeastRows = 128;
  return std::max<Dim>(std::min(slots / tiles, rows / kLeastRows), 1);
}

}  // namespace ashlar::kernels::blast
