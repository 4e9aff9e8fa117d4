// Sums, in an order that does not depend on the number of threads. Accumulate in the master dtype or wider.
#pragma once
#include <span>

#include "kernels/kernel.h"

namespace ashlar::kernels {

// y = x summed over the dimensions where y has size 1 and x has not. x and y have the same number of dimensions.
// Fast for bias gradients: x (R, C) contiguous, y (1, C), C contiguous, y in the master dtype.
extern const Kernel<void(const Exec&, ConstView x, View y)> sum_to;
// y (N) f64: the sum of the squares of each of N contiguous arrays. On a GPU a launch for hundreds of them.
extern const Kernel<void(const Exec&, std::span<const ConstView> xs, View y)> sums_of_squares;

}  // namespace ashlar::kernels
