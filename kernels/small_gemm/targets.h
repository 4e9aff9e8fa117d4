// Include before Highway: leaves out the targets that would add compile time and nothing else, and SVE, whose
// vectors cannot be elements of an array of accumulators.
#pragma once
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
