#include "kernels/low_rank/cpu.h"

#include "kernels/blast/cpu.h"

namespace ashlar::kernels::cpu {
namespace {

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

void check_matrix(std::string_view operation, const ConstView& matrix, std::string_view name) {
  ASHLAR_CHECK(!matrix || (matrix.shape.ndim() == 2 && matrix.contiguous()), operation, ": ", name,
               " must be a contiguous matrix, got ", matrix.shape);
}

}  // namespace

void low_rank_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y) {
  check_matrix("low_rank_forward", u, "u");
  check_matrix("low_rank_forward", v, "v");
  check_matrix("low_rank_forward", z, "z");
  blast::forward("low_rank_forward", exec, x, as_block(u), as_block(v), {}, bias, as_hidden(z), y);
}

void low_rank_backward(const Exec& exec, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                       View dv, View dbias) {
  for (const auto& [matrix, name] :
       {std::pair<ConstView, const char*>{z, "z"}, {u, "u"}, {v, "v"}, {du, "du"}, {dv, "dv"}}) {
    check_matrix("low_rank_backward", matrix, name);
  }
  blast::backward("low_rank_backward", exec, dy, x, as_hidden(z), as_block(u), as_block(v), {}, dx, as_block(du),
                  as_block(dv), {}, dbias);
}

}  // namespace ashlar::kernels::cpu
