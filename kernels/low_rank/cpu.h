#pragma once
#include "core/device.h"
#include "core/view.h"

namespace ashlar::kernels::cpu {

void low_rank_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y);
void low_rank_backward(const Exec& exec, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                       View dv, View dbias);

}  // namespace ashlar::kernels::cpu
