// Initial values of parameters: pure functions of (key, index), written to arrays on the host.
#pragma once
#include <functional>

#include "core/array.h"

namespace ashlar {

using Init = std::function<void(Array& values, std::uint64_t key)>;

namespace init {

Init zeros();
Init ones();
Init normal(double std);
// Normal, redrawn outside two standard deviations, then scaled so that the standard deviation of the result is `std`.
Init truncated_normal(double std);
Init uniform(double bound);  // in [-bound, bound)

}  // namespace init
}  // namespace ashlar
