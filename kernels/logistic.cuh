// The logistic function.
#pragma once
#include "kernels/device.cuh"

namespace ashlar::kernels::device {

// σ(x) and σ'(x) = σ (1 - σ). With e = exp(-|x|) and r = 1 / (1 + e), σ is r or e r and σ' = e r²: nothing cancels and nothing
// overflows.
template <class A>
struct Logistic {
  A value, slope;

  __device__ explicit Logistic(A x) {
    const A e = exp(-abs(x)), r = 1 / (1 + e);
    value = x < 0 ? e * r : r;
    slope = e * r * r;
  }
};

}  // namespace ashlar::kernels::device
