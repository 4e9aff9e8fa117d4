// Checks of both directions and on every device; `operation` starts the message.
#pragma once
#include <initializer_list>
#include <string_view>

#include "core/view.h"

namespace ashlar::kernels::attention {

struct NamedOperand {
  std::string_view name;
  ConstView view;
};
inline void check_layout(std::string_view operation, const ConstView& q, const NamedOperand& operand) {
  const auto& [name, view] = operand;
  ASHLAR_CHECK(view.dtype == q.dtype, operation, ": ", name, " is ", view.dtype, " but q is ", q.dtype);
  ASHLAR_CHECK(view.size(-1) <= 1 || view.step(-1) == 1, operation, ": the last dimension of ", name, " ", view.shape,
               " must be contiguous; make it so first");
}

// q is (B, H, T, D), and the others are as it is.
inline void check_heads(std::string_view operation, const ConstView& q, std::initializer_list<NamedOperand> others) {
  ASHLAR_CHECK(q.shape.ndim() == 4, operation, ": q must be (B, H, T, D), got ", q.shape);
  check_layout(operation, q, {"q", q});
  for (const NamedOperand& other : others) {
    ASHLAR_CHECK(other.view.shape == q.shape, operation, ": ", other.name, " ", other.view.shape,
                 " must have the shape of q ", q.shape);
    check_layout(operation, q, other);
  }
}

// Of the forward pass, where k and v may have more positions than q.
inline void check_forward(std::string_view operation, const ConstView& q, const ConstView& k, const ConstView& v,
                          const ConstView& o) {
  check_heads(operation, q, {{"o", o}});
  ASHLAR_CHECK(k.shape.ndim() == 4 && k.shape == q.shape.with(2, k.size(2)) && k.size(2) >= q.size(2), operation, ": k ",
               k.shape, " must have the shape of q ", q.shape, " or more positions");
  ASHLAR_CHECK(v.shape == k.shape, operation, ": v ", v.shape, " must have the shape of k ", k.shape);
  check_layout(operation, q, {"k", k});
  check_layout(operation, q, {"v", v});
}

inline void check_lse(std::string_view operation, const ConstView& q, const ConstView& lse) {
  const Shape expected{q.size(0), q.size(1), q.size(2)};
  ASHLAR_CHECK(lse.shape == expected, operation, ": lse ", lse.shape, " must be ", expected);
  ASHLAR_CHECK(lse.dtype == master_dtype(q.dtype), operation, ": lse is ", lse.dtype, " but must be ",
               master_dtype(q.dtype), " beside q of ", q.dtype);
}

}  // namespace ashlar::kernels::attention
