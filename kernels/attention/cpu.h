#pragma once
#include "core/view.h"
#include "core/device.h"

namespace ashlar::kernels::cpu {

void attention_forward(const Exec& exec, ConstView q, ConstView k, ConstView v, double scale, bool causal, View o,
                       View lse);
void attention_backward(const Exec& exec, ConstView d_o, ConstView q, ConstView k, ConstView v, ConstView o,
                        ConstView lse, double scale, bool causal, View dq, View dk, View dv);

}  // namespace ashlar::kernels::cpu
