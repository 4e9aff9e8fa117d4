// Sizes of an SS1 call; checked alike on every device, except for the values of the tables.
#pragma once
#include <cstdint>
#include <span>

#include "kernels/checks.h"
#include "kernels/side.h"

namespace ashlar::kernels::ss1 {

struct Sizes {
  Dim rows, features, sketches, groups, reduction, block;  // R, n, H, G, c, B
  constexpr Dim width() const { return groups * block; }
};

// The outputs of each sketch.
inline Side classes_of(Dim sketches, Dim outputs) { return {outputs, sketches, ceil_div(outputs, sketches)}; }

inline Sizes check(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& shift,
                   const ConstView& sign) {
  check_rows(operation, "x", x, x.dtype);
  ASHLAR_CHECK(shift.shape.ndim() == 3 && shift.numel() > 0 && u.shape.ndim() == 3 && u.size(2) > 0 &&
                   u.size(2) % shift.size(1) == 0,
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

// The values of the tables, where the host can see them.
inline void check_shifts(std::string_view operation, Dim block, std::span<const std::int32_t> shifts) {
  for (const std::int32_t shift : shifts) {
    ASHLAR_CHECK(shift >= 0 && shift < block, operation, ": the table has shift ", shift, "; it must be from 0 to ", block - 1);
  }
}
inline void check_signs(std::string_view operation, std::span<const std::int32_t> signs) {
  for (const std::int32_t sign : signs) {
    ASHLAR_CHECK(sign == 1 || sign == -1, operation, ": the table has sign ", sign, "; it must be 1 or -1");
  }
}

// Of the layer: x (R, n), u, which may be absent, and the weights z (m, G B), bias (m), with y (R, m).
inline Sizes check_layer(std::string_view operation, const ConstView& x, const ConstView& shift, const ConstView& sign,
                         const ConstView& z, const ConstView& bias, const ConstView& u, const ConstView& y) {
  check_rows(operation, "y", y, x.dtype);
  const bool fits = x.shape.ndim() == 2 && y.shape.ndim() == 2 && z.shape.ndim() == 2 && shift.shape.ndim() == 3;
  ASHLAR_CHECK(fits && x.size(0) == y.size(0) && z.size(0) == y.size(1), operation, ": x ", x.shape, ", z ", z.shape,
               ", y ", y.shape, " and the table ", shift.shape, " must be (R, n), (m, G B), (R, m) and (H, G, c)");
  check_weights(operation, "z", z, z.shape, x.dtype);
  check_contiguous(operation, "bias", bias, {z.size(0)}, master_dtype(x.dtype));
  const Shape sketches{shift.size(0), x.size(0), z.size(1)};
  check_contiguous(operation, "u", u, sketches, x.dtype);
  return check(operation, x, u ? u : ConstView(nullptr, x.dtype, sketches, {}), shift, sign);
}

// Of its backward; without x and dx the sizes tell no features.
inline Sizes check_layer_gradients(std::string_view operation, const ConstView& dy, const ConstView& x, const ConstView& u,
                                   const ConstView& shift, const ConstView& sign, const ConstView& z, const ConstView& dx,
                                   const ConstView& dz, const ConstView& dbias) {
  ASHLAR_CHECK(u || x || !dz, operation, ": dz needs the sketches u, or x");
  check_contiguous(operation, "dz", dz, z.shape, master_dtype(dy.dtype));
  if (x) check_input_gradient(operation, x, dx);
  const ConstView no_features(nullptr, dy.dtype, {dy.size(0), 0}, {});
  return check_layer(operation, x ? x : dx ? dx : no_features, shift, sign, z, dbias, u, dy);
}

}  // namespace ashlar::kernels::ss1
