// Dropout and DropPath. The mask is a pure function of (key, stream): backward is the same call on the gradient.
#pragma once
#include "kernels/kernel.h"

namespace ashlar::kernels {

struct DropMask {
  double p = 0;            // probability that an element (a sample) is dropped
  std::uint64_t key = 0;   // of the layer: key_of(seed, path)
  std::uint64_t stream = 0;  // the training step
  // (1) i64 where the kernel runs, added to `stream` when it runs; may be absent. Recorded work (core/cuda/cuda.h) draws
  // another mask in each replay by it.
  ConstView stream_offset = {};

  void for_each_view(auto&& visit) const { visit(stream_offset); }
};

// y = x / (1 - p) where Random(key, stream + stream_offset).uniform(index) >= p, else 0; contiguous, index is the row-major
// position.
extern const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> dropout;
// The same with one decision a sample (stochastic depth, Huang et al. 2016): x (B, …), index is the sample.
extern const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> drop_path;

}  // namespace ashlar::kernels
