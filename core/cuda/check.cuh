// For translation units that use the CUDA runtime: every call is checked, with the place in the source.
#pragma once
#include <cuda_runtime.h>

#include "core/error.h"

namespace ashlar::cuda {

inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // reported here: whoever catches it may go on, and the check of the next launch must not report it again
  throw Error(concat("cuda: ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ") from ", call, " at ", file,
                     ":", line));
}

}  // namespace ashlar::cuda

// Throws Error naming the call and its place unless it returns cudaSuccess.
#define ASHLAR_CUDA_CHECK(call) ::ashlar::cuda::check((call), #call, __FILE__, __LINE__)
// After a launch: errors of the launch itself. What goes wrong while the kernel runs shows at the next synchronisation.
#define ASHLAR_CUDA_CHECK_LAUNCH() ::ashlar::cuda::check(cudaGetLastError(), "a kernel launch", __FILE__, __LINE__)
