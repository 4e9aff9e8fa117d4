// Integer division that rounds up.
#pragma once
#include "core/dtype.h"

namespace ashlar {

constexpr Dim round_up(Dim value, Dim multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr Dim ceil_div(Dim value, Dim divisor) { return (value + divisor - 1) / divisor; }

}  // namespace ashlar
