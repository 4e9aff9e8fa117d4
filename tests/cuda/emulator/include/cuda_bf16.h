// In place of CUDA's header of this name: the bits are those of the project's own type.
#pragma once
#include <cuda_runtime.h>

#include "core/dtype.h"

using __nv_bfloat16 = ashlar::bfloat16;
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline float __bfloat162float(__nv_bfloat16 x) { return static_cast<float>(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return ashlar::convert<__nv_bfloat16>(x); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {ashlar::convert<__nv_bfloat16>(x), ashlar::convert<__nv_bfloat16>(y)};
}
