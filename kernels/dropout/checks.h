// What every device checks and how it decides.
#pragma once
#include <cmath>

#include "kernels/checks.h"
#include "kernels/dropout/dropout.h"

namespace ashlar::kernels::drop {

// uniform(index) = (bits >> 8) 2^-24 >= p exactly when (bits >> 8) >= ceil(p 2^24).
inline std::uint32_t threshold_of(const DropMask& mask) { return static_cast<std::uint32_t>(std::ceil(mask.p * 0x1p24)); }

// The stream of the numbers, where mask.stream_offset can be read.
inline std::uint64_t stream_of(const DropMask& mask) {
  return mask.stream + (mask.stream_offset ? static_cast<std::uint64_t>(*mask.stream_offset.as<std::int64_t>()) : 0);
}

// `operation` starts the message.
inline void check(std::string_view operation, const ConstView& x, const DropMask& mask, const View& y) {
  check_like(operation, x, "y", y);
  ASHLAR_CHECK(!mask.stream_offset || (mask.stream_offset.dtype == DType::i64 && mask.stream_offset.numel() == 1), operation,
               ": `stream_offset` must be one i64, got ", mask.stream_offset.dtype, mask.stream_offset.shape);
  ASHLAR_CHECK(mask.p >= 0 && mask.p <= 1, operation, ": p must be in [0, 1], got ", mask.p);
}

}  // namespace ashlar::kernels::drop
