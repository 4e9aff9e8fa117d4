// Addressing the heads.
#pragma once
#include <array>

#include "core/view.h"

namespace ashlar::kernels::attention {

// The (T, D) matrix of one head inside a (B, H, T, D) view, or its T values inside (B, H, T).
template <class T>
struct Head {
  T* data;
  Dim ld;  // from one position to the next
  T* row(Dim position) const { return data + position * ld; }
};

template <class T, class Pointer>
auto head_of(const BasicView<Pointer>& view, Dim head) {
  using Value = std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>, const T, T>;
  const Dim batch = head / view.size(1), h = head % view.size(1);
  return Head<Value>{static_cast<Value*>(view.data) + batch * view.step(0) + h * view.step(1), view.step(2)};
}

}  // namespace ashlar::kernels::attention
