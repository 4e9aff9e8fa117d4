// What the CUDA kernels count with: the places of sketches, and when it pays to fuse them. Constexpr, so that the host can
// check it.
#pragma once
#include <algorithm>

#include "kernels/fusion.h"
#include "kernels/ss1/checks.h"

namespace ashlar::kernels::ss1 {

// The feature of x that entry (h, g, i) of the table, with this shift, brings to place k < B of group g.
constexpr Dim feature_of(const Sizes& s, Dim group, Dim i, Dim k, Dim shift) {
  const Dim turned = k + shift;
  return (group * s.reduction + i) * s.block + (turned < s.block ? turned : turned - s.block);
}
// The place that it goes to, from its place in the chunk.
constexpr Dim place_of(const Sizes& s, Dim in_chunk, Dim shift) {
  const Dim turned = in_chunk - shift;
  return turned < 0 ? turned + s.block : turned;
}

// The fused kernels move eight neighbouring places of a group at once (B is a multiple of eight). Where `whole`, they
// are eight neighbouring features from a multiple of eight on; elsewhere each has to be looked up.
constexpr int kPlaces = 8;
constexpr bool whole(Dim shift) { return shift % kPlaces == 0; }

// The group of a column of u, and the place in it. 32 bits: the GPU divides 64 by a long program.
struct Place {
  int group, k;
};
constexpr Place place_at(const Sizes& s, int column) {
  const int block = static_cast<int>(s.block);
  return {column / block, column % block};
}

// The tile of results of a block of the fused kernels, and the step of the inner dimension.
constexpr int kRows = 128, kColumns = 128, kDepth = 32;

// Into how many parts the column tiles of y are divided. More parts fill more of the machine, but each forms the sketches of
// its rows again: as many as there are multiprocessors for. Two blocks on one would form them twice and multiply no faster.
constexpr Dim column_parts(const Sizes& s, Dim outputs, Dim multiprocessors) {
  return std::clamp<Dim>(multiprocessors / ceil_div(s.rows, kRows), 1, ceil_div(outputs, kColumns));
}

// Whether the fused kernels, whose products run at `rate`, take less time than a pass for the sketches or their gradient and a
// product, by the count of kernels/fusion.h. In the forward, which keeps u, each part of the columns forms its sketches before
// it multiplies, and all blocks do so at the same time; in the backward two blocks of a multiprocessor overlap each other's
// phases.
constexpr bool fused_forward_pays(const Sizes& s, Dim outputs, Dim parts, double rate) {
  const auto n = static_cast<double>(s.features), u = static_cast<double>(s.width()), m = static_cast<double>(outputs);
  const auto tiled = static_cast<double>(round_up(s.width(), kDepth) * round_up(outputs, kColumns));
  const double fused = time_of(0, static_cast<double>(parts) * n + u) + time_of(tiled, m, rate);
  return fused <= time_of(0, n + u) + time_of(u * m, u + m);
}
constexpr bool fused_gradient_pays(const Sizes& s, Dim outputs, double rate) {
  const auto n = static_cast<double>(s.features), u = static_cast<double>(s.width()), m = static_cast<double>(outputs);
  const auto tiled = static_cast<double>(round_up(s.width(), kColumns) * round_up(outputs, kDepth));
  return time_of(tiled, m + n, rate) <= time_of(u * m, m + u) + time_of(0, u + n);
}

}  // namespace ashlar::kernels::ss1
