// Kernels compiled once per instruction set with Highway; the best version is chosen at run time.
//
// A cpu.cpp has two parts. The per-target part works on one thread on a range of contiguous values; the part under
// `#if HWY_ONCE` checks shapes, splits the work between threads and calls the chosen version:
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/gelu/cpu.cpp"
//   #include "kernels/simd.h"
//   #include <hwy/foreach_target.h>
//   #include "kernels/simd-inl.h"
//
// Inside the per-target part, lambdas carry HWY_ATTR and std:: function templates are not called.
#pragma once
#include "core/parallel.h"
#include "core/view.h"
#include "kernels/isa.h"
#include "kernels/views.h"

// Fewer targets, shorter builds: the compiler's baseline (on Arm64 that is NEON), AVX2 and AVX-512 remain. Highway numbers better
// targets lower and has more of them in each version: those of AVX-512 for single processors, and SVE's.
#if defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | (HWY_AVX3 - 1))
#endif

// The version of `function` for the instruction set in use, as a pointer.
#define ASHLAR_DISPATCH(function) (::ashlar::kernels::ensure_isa_limit(), &HWY_DYNAMIC_DISPATCH(function))

namespace ashlar::kernels {

// Elements of cheap work that are worth a second thread.
constexpr Dim kGrain = 1 << 14;
// The fewest rows of `columns` elements that are.
constexpr Dim row_grain(Dim columns) { return columns >= kGrain ? 1 : kGrain / (columns > 0 ? columns : 1); }

}  // namespace ashlar::kernels
