// What every thread of a kernel reads and writes, in a build with ASHLAR_EMULATED_WATCH: accesses that race, or
// go outside of the memory that was asked for. In other builds nothing is watched.
//
// Two accesses race if they are not of one thread, one of them writes, and nothing orders them: __syncthreads() orders the
// threads of a block, __syncwarp() those of a warp, and the end of a kernel all. A shuffle, ldmatrix or mma orders nothing
// (CUDA C++ Programming Guide, "Warp Shuffle Functions"). An asynchronous copy writes from when it is issued until its thread
// waits for it, and then as if the thread had written. Atomic accesses are not watched.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace ashlar::emulated::watch {

struct Range {
  const void* begin;
  std::size_t bytes;
};

#ifdef ASHLAR_EMULATED_WATCH

constexpr bool kOn = true;

// What of the device's memory kernels may touch, and no longer.
void allow(const void* data, std::size_t bytes);
void forbid(const void* data, std::size_t bytes);

// The course of a launch.
void begin_launch(const char* kernel);
void begin_block(Range dynamic_shared, Range static_shared);
void end_block();
void check();  // throws Error with what was seen first in the block
void next_thread(std::size_t thread, unsigned warp_barriers);
void barrier();

// Source lines of an instruction, from where it was inlined outwards.
std::string place(std::uint32_t code);

// What the emulator does for the current thread.
void read(const void* at, std::size_t bytes);
void begin_copy(const void* to, std::size_t bytes);
void end_copy(const void* to, std::size_t bytes);

#else

constexpr bool kOn = false;
inline void allow(const void*, std::size_t) {}
inline void forbid(const void*, std::size_t) {}
inline void begin_launch(const char*) {}
inline void begin_block(Range, Range) {}
inline void end_block() {}
inline void check() {}
inline void next_thread(std::size_t, unsigned) {}
inline void barrier() {}
inline void read(const void*, std::size_t) {}
inline void begin_copy(const void*, std::size_t) {}
inline void end_copy(const void*, std::size_t) {}

#endif

}  // namespace ashlar::emulated::watch
