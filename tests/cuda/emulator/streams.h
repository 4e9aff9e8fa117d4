// What the runtime and its streams know of each other.
#pragma once
#include "tests/cuda/emulator/include/cuda_runtime.h"

namespace ashlar::emulated {

// Keeps an error for cudaGetLastError, and returns it.
cudaError_t result(cudaError_t status);

// Until the stream has done all that it was given.
void finish(cudaStream_t stream);

bool capturing(cudaStream_t stream);
// What must not be done while a stream captures ends the capture.
cudaError_t refuse_in_capture(cudaStream_t stream);
// Calls that a stream cannot take part in, like those for pinned memory, are refused while any stream captures.
bool refused_anywhere();

}  // namespace ashlar::emulated
