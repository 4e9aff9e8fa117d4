// Checks that every device makes.
#pragma once
#include <string_view>

#include "kernels/checks.h"
#include "kernels/update/update.h"

namespace ashlar::kernels::updates {

inline void check_weight(std::string_view name, const ConstView& w) {
  ASHLAR_CHECK(w.dtype == DType::f32 || w.dtype == DType::f64, name, ": weights must be f32 or f64, got ", w.dtype);
  ASHLAR_CHECK(w.contiguous(), name, ": the weight ", w.shape, " must be contiguous");
}

inline void check_numbers(std::string_view name, const ConstView& numbers, Dim count) {
  ASHLAR_CHECK(numbers && numbers.dtype == DType::f64 && numbers.shape == Shape{count} && numbers.contiguous(), name,
               ": needs numbers (", count, ") in f64, contiguous");
}

inline void check(const SgdTensor& t) {
  check_weight("sgd_update", t.w);
  check_numbers("sgd_update", t.numbers, 1);
  check_like("sgd_update", t.w, "gradient", t.dw);
  if (t.buffer) check_like("sgd_update", t.w, "momentum buffer", t.buffer);
}

inline void check(const AdamWTensor& t) {
  check_weight("adamw_update", t.w);
  check_numbers("adamw_update", t.numbers, 3);
  check_like("adamw_update", t.w, "gradient", t.dw);
  check_like("adamw_update", t.w, "first moment", t.m);
  check_like("adamw_update", t.w, "second moment", t.v);
}

inline void check(const EmaTensor& t) {
  check_weight("ema_update", t.w);
  check_like("ema_update", t.w, "average", t.average);
}

}  // namespace ashlar::kernels::updates
