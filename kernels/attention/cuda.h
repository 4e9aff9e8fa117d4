// The parts of attention on CUDA: cuDNN's kernels for bf16 in training, where the build has cuDNN, and backward if the order
// of sums is free; on tensor cores for bf16 heads of 32, 64 or 128 features, backward by one kernel where the context is short;
// plain for the rest, of which a decoder's single query is one.
#pragma once
#include "core/device.h"
#include "kernels/attention/call.h"

namespace ashlar::kernels::attention {

// lse is contiguous in all of these calls.

// Only in a build with cuDNN (ASHLAR_HAS_CUDNN). False, and nothing done, where it has no kernel for such a call, without lse,
// and where the environment says ASHLAR_CUDNN=off; backward also in a fixed order, and where T is not a multiple of 128.
bool forward_cudnn(const Exec& exec, const ForwardCall& call);
bool backward_cudnn(const Exec& exec, const BackwardCall& call);

// A query a head and its cached keys: a read of memory, for which tensor cores have too few rows.
inline bool is_decoding(const ForwardCall& call) { return call.q.size(2) == 1 && call.k.size(2) > 1; }

void forward_plain(const Exec& exec, const ForwardCall& call);
void forward_tensor_cores(const Exec& exec, const ForwardCall& call);

void backward_plain(const Exec& exec, const BackwardCall& call);
void backward_tensor_cores(const Exec& exec, const BackwardCall& call);
// For at most kShortContext positions; needs no delta.
constexpr Dim kShortContext = 80;
void backward_short(const Exec& exec, const BackwardCall& call);

}  // namespace ashlar::kernels::attention
