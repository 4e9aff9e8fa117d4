// Running the same work on the CPU and on a GPU and comparing. Built where CUDA is, run where a GPU is: without one the
// tests say so and pass, unless ASHLAR_REQUIRE_GPU is set (tests/gpu.sh sets it). Built without CUDA, an emulator is the
// GPU (emulator/CMakeLists.txt).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/cuda/cuda.h"
#include "core/determinism.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

namespace ashlar::test {

inline constexpr Device kGpu{DeviceType::cuda, 0};
inline const std::vector<DType> kFloating{DType::f64, DType::f32, DType::bf16};

// How much to do: `all` on a GPU; `some` by the emulator, for which a step is a matter of seconds, unless ASHLAR_EMULATE_ALL
// is set.
template <class T>
T amount(T all, [[maybe_unused]] T some) {
#ifdef ASHLAR_EMULATED
  if (!std::getenv("ASHLAR_EMULATE_ALL")) return some;
#endif
  return all;
}

inline bool has_gpu() {
  const std::string reason = cuda::why_unusable(0);
  if (reason.empty()) return true;
  if (std::getenv("ASHLAR_REQUIRE_GPU")) FAIL(reason);
  WARN("skipped: " << reason);
  return false;
}

// How far a GPU may be from the CPU: the orders of the sums differ, and in bf16 intermediate values are rounded.
inline double gpu_tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 2e-5 : 1.5e-2; }

// Kernels may add in any order as long as this lives.
struct AnyOrder {
  AnyOrder() { set_deterministic(false); }
  ~AnyOrder() { set_deterministic(true); }
  AnyOrder(const AnyOrder&) = delete;
  AnyOrder& operator=(const AnyOrder&) = delete;
};

using Arrays = std::vector<Array>;

inline Arrays on(Device device, const Arrays& arrays) {
  Arrays result;
  // Results are written to: no two runs may share them.
  for (const Array& a : arrays) result.push_back(a.defined() ? (device == a.device() ? a.clone() : a.to(device)) : Array());
  return result;
}

// run(exec, inputs, outputs) on both devices, from the same inputs and the same initial outputs. On the GPU twice: the
// bits must be the same, unless sums may take any order.
template <class Run>
void same_on_gpu(const Arrays& inputs, const Arrays& outputs, double tolerance, const Run& run, bool in_order = true) {
  const Arrays expected = on(Device{}, outputs), device_inputs = on(kGpu, inputs);
  run(Exec{}, on(Device{}, inputs), expected);
  const Arrays got = on(kGpu, outputs), again = on(kGpu, outputs);
  run(Exec{kGpu}, device_inputs, got);
  run(Exec{kGpu}, device_inputs, again);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!expected[i].defined()) continue;
    INFO("output " << i << " " << expected[i].dtype() << expected[i].shape());
    CHECK(difference(got[i].to(Device{}), expected[i]) <= tolerance);
    if (in_order) CHECK(bitwise_equal(got[i].to(Device{}), again[i].to(Device{})));
    else CHECK(difference(again[i].to(Device{}), expected[i]) <= tolerance);
  }
}

}  // namespace ashlar::test
