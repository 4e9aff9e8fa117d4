// Checks that every device makes.
#pragma once
#include <string_view>

#include "kernels/update/update.h"

namespace ashlar::kernels::updates {

inline void check_like(std::string_view name, const ConstView& x, const char* what, const ConstView& w) {
  ASHLAR_CHECK(x.dtype == w.dtype && x.shape == w.shape && x.contiguous(), name, ": ", what, " ", x.dtype, " ", x.shape,
               " must be contiguous and match the weight ", w.dtype, " ", w.shape);
}

inline void check_weight(std::string_view name, const ConstView& w) {
  ASHLAR_CHECK(w.dtype == DType::f32 || w.dtype == DType::f64, name, ": weights must be f32 or f64, got ", w.dtype);
  ASHLAR_CHECK(w.contiguous(), name, ": the weight ", w.shape, " must be contiguous");
}

inline void check_sgd(const ConstView& dw, const ConstView& w, const ConstView& buffer) {
  check_weight("sgd_update", w);
  check_like("sgd_update", dw, "gradient", w);
  if (buffer) check_like("sgd_update", buffer, "momentum buffer", w);
}

inline void check_adamw(const AdamWUpdate& p, const ConstView& dw, const ConstView& w, const ConstView& m,
                        const ConstView& v) {
  check_weight("adamw_update", w);
  check_like("adamw_update", dw, "gradient", w);
  check_like("adamw_update", m, "first moment", w);
  check_like("adamw_update", v, "second moment", w);
  ASHLAR_CHECK(p.step >= 1, "adamw_update: steps count from 1, got ", p.step);
}

inline void check_average(const AverageTensor& t) {
  check_weight("average_update", t.w);
  check_like("average_update", t.average, "average", t.w);
}

}  // namespace ashlar::kernels::updates
