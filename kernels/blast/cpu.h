#pragma once
#include <string_view>

#include "core/device.h"
#include "core/view.h"

namespace ashlar::kernels::cpu {

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View kept,
                   View y);
void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u, ConstView v, ConstView s,
                    View dx, View du, View dv, View ds, View dbias);

namespace blast {

// The same for callers with a name of their own in messages. Without s there must be one block (low rank):
// C = A, (R, 1, r) if it is kept.
void forward(std::string_view operation, const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s,
             ConstView bias, View kept, View y);
void backward(std::string_view operation, const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u,
              ConstView v, ConstView s, View dx, View du, View dv, View ds, View dbias);

}  // namespace blast
}  // namespace ashlar::kernels::cpu
