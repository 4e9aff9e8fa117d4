#pragma once
#include <string_view>

#include "core/device.h"
#include "core/view.h"

namespace ashlar::kernels::cpu {

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View a, View y);
void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView a, ConstView u, ConstView v, ConstView s,
                    View dx, View du, View dv, View ds, View dbias);

namespace blast {

// The same for callers with a name of their own in messages. Without s there must be one block: C = A (low rank).
void forward(std::string_view operation, const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s,
             ConstView bias, View a, View y);
void backward(std::string_view operation, const Exec& exec, ConstView dy, ConstView x, ConstView a, ConstView u,
              ConstView v, ConstView s, View dx, View du, View dv, View ds, View dbias);

}  // namespace blast
}  // namespace ashlar::kernels::cpu
