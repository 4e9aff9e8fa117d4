// What attention.h's slots are given, for the functions that do the work.
#pragma once
#include "core/view.h"

namespace ashlar::kernels::attention {

struct ForwardCall {
  ConstView q, k, v;
  double scale;
  bool causal;
  View o, lse;  // lse may be absent
};
struct BackwardCall {
  ConstView d_o, q, k, v, o, lse;
  double scale;
  bool causal;
  View dq, dk, dv;
  View delta = {};  // (B, H, T) like lse: to hold Σ d_o o of each row, on a GPU
};

}  // namespace ashlar::kernels::attention
