// Sizes of an SS1 call; checked alike on every device, except for the values of the tables.
#pragma once
#include "kernels/checks.h"

namespace ashlar::kernels::ss1 {

struct Sizes {
  Dim rows, features, sketches, groups, reduction, block;  // R, n, H, G, c, B
  constexpr Dim width() const { return groups * block; }
};

inline Sizes check(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& shift,
                   const ConstView& sign) {
  check_rows(operation, "x", x, x.dtype);
  ASHLAR_CHECK(shift.shape.ndim() == 3 && shift.numel() > 0 && u.shape.ndim() == 3 && u.size(2) % shift.size(1) == 0,
               operation, ": shift ", shift.shape, " must be (H, G, c) for u ", u.shape, ", (H, R, G B)");
  const Dim sketches = shift.size(0), groups = shift.size(1), reduction = shift.size(2), block = u.size(2) / groups;
  check_contiguous(operation, "shift", shift, shift.shape, DType::i32);
  check_contiguous(operation, "sign", sign, shift.shape, DType::i32);
  check_contiguous(operation, "u", u, {sketches, x.size(0), groups * block}, x.dtype);
  const Dim n = x.size(1);
  ASHLAR_CHECK(n <= groups * reduction * block, operation, ": x ", x.shape, " has more than the ",
               groups * reduction * block, " features of the table ", shift.shape);
  return {x.size(0), n, sketches, groups, reduction, block};
}

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

}  // namespace ashlar::kernels::ss1
