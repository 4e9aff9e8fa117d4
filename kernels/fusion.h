// Whether to run a structured layer's fused kernel, or the library's products with passes between them.
//
// A count decides, of a row of the input. Its unit is the time in which a byte crosses device memory, and the library's
// products do about 160 FLOPs (790 TFLOP/s and 4.8 TB/s of an H200). It knows neither caches nor launches.
#pragma once
#include <algorithm>
#include <string_view>

#include "core/choice.h"

namespace ashlar::kernels {

// The time of a kernel, or of a phase of one that no other overlaps: it multiplies, at `rate` times the library's speed, while
// it moves values of bf16.
constexpr double time_of(double macs, double values, double rate = 1) {
  constexpr double kFlopsPerByte = 160;
  return std::max(2 * macs / (kFlopsPerByte * rate), 2 * values);
}

// The rate of products by mma.sync, where the library has other instructions from compute capability 9 on.
constexpr double mma_rate(int capability_major) { return capability_major >= 9 ? 0.5 : 0.85; }

// As ASHLAR_FUSED in the environment says, for measurements; otherwise where it `pays` by the caller's count.
inline bool use_fused(bool pays) {
  const std::string_view choice =
      environment_choice("ASHLAR_FUSED", {"auto", "on", "off"},
                         "fused kernels of BLAST and SS1, where they pay or always or never");
  return choice == "auto" ? pays : choice == "on";
}

}  // namespace ashlar::kernels
