// Checks that every device makes.
#pragma once
#include "kernels/clip/clip.h"

namespace ashlar::kernels::clipping {

inline void check(std::span<const View> gradients, const ConstView& squares, const ClipRule& rule) {
  ASHLAR_CHECK(squares.dtype == DType::f64 && squares.shape.ndim() == 1 && squares.contiguous(),
               "clip_gradients: squares must be f64 (N) and contiguous, got ", squares.dtype, squares.shape);
  ASHLAR_CHECK(rule.max_norm >= 0 && rule.accumulated >= 1, "clip_gradients: max_norm must not be negative and accumulated at "
               "least 1, got ", rule.max_norm, " and ", rule.accumulated);
  for (const View& gradient : gradients) {
    ASHLAR_CHECK((gradient.dtype == DType::f32 || gradient.dtype == DType::f64) && gradient.contiguous(),
                 "clip_gradients: gradients must be f32 or f64 and contiguous, got ", gradient.dtype, gradient.shape);
  }
}

}  // namespace ashlar::kernels::clipping
