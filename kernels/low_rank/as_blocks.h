// A matrix of low rank as BLAST with one block and no coupling.
#pragma once
#include <string_view>

#include "core/device.h"
#include "core/view.h"

namespace ashlar::kernels::low_rank {

// (m, r) as (1, m, r): the only block.
template <class AnyView>
AnyView as_block(AnyView factor) {
  if (!factor) return factor;
  factor.shape = Shape{1, factor.size(0), factor.size(1)};
  factor.stride = contiguous_strides(factor.shape);
  return factor;
}

// z (R, r) as (R, 1, r): the hidden features of the only block.
template <class AnyView>
AnyView as_hidden(AnyView z) {
  if (!z) return z;
  const Dim row = z.step(0);
  z.shape = Shape{z.size(0), 1, z.size(1)};
  z.stride = {};
  z.stride[0] = z.stride[1] = row;
  z.stride[2] = 1;
  return z;
}

inline void check_matrix(std::string_view operation, const ConstView& matrix, std::string_view name) {
  ASHLAR_CHECK(!matrix || (matrix.shape.ndim() == 2 && matrix.contiguous()), operation, ": ", name,
               " must be a contiguous matrix, got ", matrix.shape);
}

// By the `blast` of a device: its forward or backward for callers with a name of their own.
template <class Blast>
void forward(const Blast& blast, const Exec& exec, const ConstView& x, const ConstView& u, const ConstView& v,
             const ConstView& bias, const View& z, const View& y) {
  constexpr std::string_view operation = "low_rank_forward";
  check_matrix(operation, u, "u");
  check_matrix(operation, v, "v");
  check_matrix(operation, z, "z");
  blast(operation, exec, x, as_block(u), as_block(v), ConstView{}, bias, as_hidden(z), y);
}

template <class Blast>
void backward(const Blast& blast, const Exec& exec, const ConstView& dy, const ConstView& x, const ConstView& z,
              const ConstView& u, const ConstView& v, const View& dx, const View& du, const View& dv, const View& dbias) {
  constexpr std::string_view operation = "low_rank_backward";
  check_matrix(operation, z, "z");
  check_matrix(operation, u, "u");
  check_matrix(operation, v, "v");
  check_matrix(operation, du, "du");
  check_matrix(operation, dv, "dv");
  blast(operation, exec, dy, x, as_hidden(z), as_block(u), as_block(v), ConstView{}, dx, as_block(du), as_block(dv), View{},
        dbias);
}

}  // namespace ashlar::kernels::low_rank
