// What the benchmarks share.
#pragma once
#include <chrono>

#include "core/cuda/cuda.h"
#include "core/device.h"

namespace ashlar::support {

// What a GPU was given is only queued: times begin and end when it has nothing left to do.
inline std::chrono::steady_clock::time_point now_on(Device device) {
  if (device.type == DeviceType::cuda) cuda::synchronize(device.index);
  return std::chrono::steady_clock::now();
}
inline double milliseconds_since(std::chrono::steady_clock::time_point start, Device device) {
  return std::chrono::duration<double, std::milli>(now_on(device) - start).count();
}

}  // namespace ashlar::support
