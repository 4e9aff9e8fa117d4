// What kernels need of a device. A header of its own, as most of them compile in two thirds of the time without the rest of
// core/cuda/cuda.h.
#pragma once
#include "core/view.h"

namespace ashlar::cuda {

// The device's cudaStream_t; made at first use. Makes the device the calling thread's current one.
void* stream(int index);

// Within the device: values of one shape, any strides, with conversion of the dtype.
void copy(int index, const ConstView& from, const View& to);
// Any strides, any dtype.
void fill(int index, const View& to, double value);

}  // namespace ashlar::cuda
