// What the CUDA kernels count with: the places of sketches, and when it pays to fuse them. Constexpr, so that the host can
// check it.
#pragma once
#include <algorithm>

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

// Whether the product of sketches and weights with the sketch fused into it, at `rate` times the speed of the library's
// products, takes less time than a pass for the sketches and a product: by count, in the time that a byte takes to cross device
// memory, in which the library does about 160 FLOPs (790 TFLOP/s and 4.8 TB/s of an H200). The same forward and backward.
constexpr bool fusing_pays(const Sizes& s, Dim outputs, double rate) {
  constexpr double kFlopsPerByte = 160;
  const auto n = static_cast<double>(s.features), u = static_cast<double>(s.width()), m = static_cast<double>(outputs);
  const double product = 2 * u * m / kFlopsPerByte;  // of a row, in bf16
  const double fused = std::max(product / rate, 2 * (n + m)), apart = 2 * (n + u) + std::max(product, 2 * (u + m));
  return fused <= apart;
}

// Into how many parts the column tiles of y are divided. More parts fill more of the machine, but each forms the sketches
// of its rows again: as many as there are multiprocessors for.
constexpr Dim column_parts(Dim row_tiles, Dim column_tiles, Dim multiprocessors) {
  return std::clamp<Dim>(multiprocessors / row_tiles, 1, column_tiles);
}

}  // namespace ashlar::kernels::ss1
