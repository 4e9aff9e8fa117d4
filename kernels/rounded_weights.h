// Weights of CUDA kernels in the dtype of the features.
#pragma once
#include <cstdint>

#include "core/array.h"
#include "core/cuda/cuda.h"

namespace ashlar::kernels {

// Contiguous weights, as they are where they have the dtype and begin at 16 bytes; else a copy, rounded at once instead of in
// parts by all that reads them.
class RoundedWeights {
 public:
  RoundedWeights(const Exec& exec, const ConstView& weights, DType dtype) : view_(weights) {
    if (weights.dtype == dtype && reinterpret_cast<std::uintptr_t>(weights.data) % 16 == 0) return;
    copy_ = Array::empty(weights.shape, dtype, exec.device);
    ashlar::cuda::copy(exec.device.index, weights, copy_);
    view_ = copy_;
  }
  operator const ConstView&() const { return view_; }

 private:
  Array copy_;
  ConstView view_;
};

}  // namespace ashlar::kernels
