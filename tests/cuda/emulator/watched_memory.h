// Of the device's memory in a build with ASHLAR_EMULATED_WATCH: for each byte who touched it last.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ashlar::emulated::watch {

using Address = std::uintptr_t;

// Who touched a byte last. Intervals between barriers are numbered through all blocks and launches.
struct Access {
  std::uint32_t interval = 0;
  std::uint32_t code = 0;           // address of the instruction, from the beginning of the program
  std::uint16_t thread = 0;         // or one of the marks below
  std::uint16_t warp_barriers = 0;  // that its warp had passed
};
constexpr std::uint16_t kAsynchronous = 0x1000;  // with the thread that issued a copy and has not yet waited for it
constexpr std::uint16_t kOneWarp = 0x2000;       // with a lane: several lanes of its warp
constexpr std::uint16_t kManyWarps = 0x4000;
constexpr std::uint16_t kOtherBlocks = 0x8000;   // and other blocks of the launch before
inline unsigned number(const Access& access) { return access.thread % kAsynchronous; }

struct Cell {
  Access written, read;
};

constexpr std::size_t kGranule = 256;

struct Shadow {
  Cell* cells;             // of each byte
  std::uint16_t* allowed;  // bytes of each granule that kernels may touch

  Shadow();
};
inline Shadow& shadow() {
  static auto* const own = new Shadow;
  return *own;
}

}  // namespace ashlar::emulated::watch
