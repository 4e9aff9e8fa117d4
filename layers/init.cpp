#include "layers/init.h"

#include <cmath>

#include "core/parallel.h"
#include "core/random.h"

namespace ashlar::init {
namespace {

// values[2 i], values[2 i + 1] = draw(random, i), in parallel, for f32 and f64.
template <class Draw>
Init pairwise(Draw draw) {
  return [draw](Array& values, std::uint64_t key) {
    const Random random(key);
    const Dim count = values.numel();
    dispatch_floating(values.dtype(), "init", [&]<class T>() {
      T* out = values.data<T>();
      parallel_for((count + 1) / 2, 1 << 12, [&](Dim begin, Dim end) {
        for (Dim pair = begin; pair < end; ++pair) {
          const std::array<double, 2> drawn = draw(random, static_cast<std::uint64_t>(pair));
          out[2 * pair] = convert<T>(drawn[0]);
          if (2 * pair + 1 < count) out[2 * pair + 1] = convert<T>(drawn[1]);
        }
      });
    });
  };
}

// Standard deviation of a standard normal truncated to [-2, 2].
constexpr double kTruncatedStd = 0.87962566103423978;

}  // namespace

Init zeros() {
  return [](Array& values, std::uint64_t) { fill(values, 0); };
}
Init ones() {
  return [](Array& values, std::uint64_t) { fill(values, 1); };
}

Init normal(double std) {
  return pairwise([std](const Random& random, std::uint64_t pair) {
    const auto [a, b] = random.normal_pair(pair);
    return std::array{std * a, std * b};
  });
}

Init truncated_normal(double std) {
  return pairwise([std](const Random& random, std::uint64_t pair) {
    // A redraw takes the pair at the same place of a far part of the stream.
    constexpr std::uint64_t kRedraw = std::uint64_t{1} << 48;
    std::array<double, 2> result{};
    for (std::size_t i = 0; i < 2; ++i) {
      double value = random.normal_pair(pair)[i];
      for (std::uint64_t attempt = 1; std::abs(value) > 2.0; ++attempt) {
        value = random.normal_pair(pair + attempt * kRedraw)[i];
      }
      result[i] = value * std / kTruncatedStd;
    }
    return result;
  });
}

Init uniform(double bound) {
  return pairwise([bound](const Random& random, std::uint64_t pair) {
    const auto draw = [&](std::uint64_t i) { return (2.0 * static_cast<double>(random.uniform(i)) - 1.0) * bound; };
    return std::array{draw(2 * pair), draw(2 * pair + 1)};
  });
}

}  // namespace ashlar::init
