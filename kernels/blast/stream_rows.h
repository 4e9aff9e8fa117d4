// Writing what is not read again soon, past the caches.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "core/view.h"

namespace ashlar::kernels::blast {

// to = from, for rows (R, values) without gaps between their values. Memory is not read first, as it is for other
// writes, and what the caches hold stays there.
inline void stream_rows(const ConstView& from, const View& to) {
  const Dim value = static_cast<Dim>(size_of(from.dtype)), bytes = from.size(1) * value;
  for (Dim r = 0; r < from.size(0); ++r) {
    const auto* const source = static_cast<const std::byte*>(from.data) + r * from.step(0) * value;
    auto* const target = static_cast<std::byte*>(to.data) + r * to.step(0) * value;
    Dim done = 0;
#if defined(__x86_64__)
    if (reinterpret_cast<std::uintptr_t>(target) % sizeof(__m128i) == 0) {
      for (; done + 16 <= bytes; done += 16) {
        const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + done));
        _mm_stream_si128(reinterpret_cast<__m128i*>(target + done), values);
      }
    }
#endif
    std::memcpy(target + done, source + done, static_cast<std::size_t>(bytes - done));
  }
#if defined(__x86_64__)
  _mm_sfence();  // before another thread may read them
#endif
}

}  // namespace ashlar::kernels::blast
