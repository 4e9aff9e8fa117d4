// What the libraries of NVIDIA were asked for and what they answered, for whoever measures: a line on stderr for each plan.
#pragma once
#include <cstdio>

#include "core/choice.h"

namespace ashlar::cuda {

// As ASHLAR_CUDA_LOG in the environment says; InputError if it is neither 0 nor 1.
inline bool logs() {
  return environment_choice("ASHLAR_CUDA_LOG", {"0", "1"}, "1: a line on stderr for each plan of cuBLASLt and cuDNN") == "1";
}

// A line of the parts, if lines are wanted.
template <class... Parts>
void log(const Parts&... parts) {
  if (logs()) std::fputs(concat("cuda: ", parts..., "\n").c_str(), stderr);
}

}  // namespace ashlar::cuda
