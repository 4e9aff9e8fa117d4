// A random order of {0, …, count − 1} without storing it: a Feistel network on the smallest 2h-bit domain
// that holds count, with Philox as its round function; values outside are sent through again until they fall
// inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). Any position costs the same and
// depends on nothing else.
#pragma once
#include <bit>

#include "core/random.h"

namespace ashlar::data {

class Permutation {
 public:
  // `count` at least 1; `stream` chooses one of many orders of one key, as the epoch does.
  constexpr Permutation(std::uint64_t count, std::uint64_t key, std::uint64_t stream)
      : count_(count),
        key_(key),
        stream_(stream),
        half_bits_((static_cast<int>(std::bit_width(count - 1)) + 1) / 2) {}

  // The element at `position` < count.
  constexpr std::uint64_t operator()(std::uint64_t position) const {
    if (count_ == 1) return 0;
    do position = encrypt(position);
    while (position >= count_);
    return position;
  }

 private:
  static constexpr std::uint32_t kRounds = 8;

  constexpr std::uint64_t encrypt(std::uint64_t value) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = value >> half_bits_, right = value & mask;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      // Halves of up to 32 bits. The top bit of the last word keeps these numbers apart from those of Random.
      const auto word = philox({static_cast<std::uint32_t>(right), round, static_cast<std::uint32_t>(stream_),
                                static_cast<std::uint32_t>(stream_ >> 32) | 0x80000000u},
                               key_);
      const std::uint64_t mixed = (left ^ word[0]) & mask;
      left = right;
      right = mixed;
    }
    return left << half_bits_ | right;
  }

  std::uint64_t count_, key_, stream_;
  int half_bits_;
};

}  // namespace ashlar::data
