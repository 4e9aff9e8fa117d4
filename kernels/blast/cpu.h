#pragma once
#include <string_view>

#include "core/device.h"
#include "core/view.h"

namespace ashlar::kernels::cpu::blast {

// blast_forward and blast_backward for callers with a name of their own in messages. Without s there must be one block
// (low rank): C = A, (R, 1, r) if it is kept.
void forward(std::string_view operation, const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s,
             ConstView bias, View kept, View y);
void backward(std::string_view operation, const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u,
              ConstView v, ConstView s, View dx, View du, View dv, View ds, View dbias);

}  // namespace ashlar::kernels::cpu::blast
