// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A number is a pure function of (key, stream, index): independent of threads, order and device.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace ashlar {

// Ten rounds of Philox4x32 on a 128-bit counter with a 64-bit key.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// FNV-1a of a text mixed with a seed: the key of a parameter, a dropout layer, a data stream.
constexpr std::uint64_t key_of(std::uint64_t seed, std::string_view path) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (int byte = 0; byte < 8; ++byte) hash = (hash ^ ((seed >> (8 * byte)) & 0xff)) * 0x100000001b3u;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Random numbers of one key. `stream` separates uses of the key (a training step, an epoch); index i of a stream
// always gives the same number.
class Random {
 public:
  explicit constexpr Random(std::uint64_t key, std::uint64_t stream = 0) : key_(key), stream_(stream) {}

  // Four random words: the `block`-th of the stream.
  constexpr std::array<std::uint32_t, 4> block(std::uint64_t block) const {
    return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                  key_);
  }
  constexpr std::uint32_t bits(std::uint64_t index) const { return block(index / 4)[index % 4]; }
  // Uniform in [0, 1), 24 bits: exact in f32 on every device.
  constexpr float uniform(std::uint64_t index) const { return static_cast<float>(bits(index) >> 8) * 0x1p-24f; }
  // Two independent standard normals (Box and Muller), computed in f64 so that their f32 rounding hardly depends on
  // the mathematical library. Values 2 pair and 2 pair + 1 of the stream.
  std::array<double, 2> normal_pair(std::uint64_t pair) const {
    const auto word = block(pair / 2);
    const std::size_t first = pair % 2 * 2;
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(word[first]) + 0.5) * 0x1p-32));
    const double angle = static_cast<double>(word[first + 1]) * (0x1p-31 * 3.141592653589793238462643383279502884);
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }
  double normal(std::uint64_t index) const { return normal_pair(index / 2)[index % 2]; }
  // Uniform in {0, …, count − 1} (multiply-shift; the bias is below count / 2^32).
  constexpr std::uint32_t below(std::uint64_t index, std::uint32_t count) const {
    return static_cast<std::uint32_t>((std::uint64_t{bits(index)} * count) >> 32);
  }

 private:
  std::uint64_t key_, stream_;
};

}  // namespace ashlar
