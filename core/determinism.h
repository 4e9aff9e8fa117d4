// Whether results must repeat bit for bit. Kernels that are faster without a fixed order of their sums, all of them on
// GPUs, ask for it.
#pragma once
#include <atomic>

namespace ashlar {

namespace detail {
inline std::atomic<bool> deterministic{true};
}

inline bool deterministic() { return detail::deterministic; }
// For the whole process.
inline void set_deterministic(bool on) { detail::deterministic = on; }

}  // namespace ashlar
