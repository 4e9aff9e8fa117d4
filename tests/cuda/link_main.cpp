// A program of all kernels, CPU and CUDA: that it links proves that every slot's CUDA function is there. It says whether
// this machine could run them.
#include <cstdio>

#include "core/cuda/cuda.h"

int main() {
  const std::string reason = ashlar::cuda::why_unusable(0);
  std::printf("%s\n", reason.empty() ? "cuda:0 can be used" : reason.c_str());
}
