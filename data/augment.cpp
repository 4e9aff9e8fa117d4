#include "data/augment.h"

#include <algorithm>
#include <cmath>

namespace ashlar::data {

void place_image(const std::uint8_t* from, Dim height, Dim width, Dim dy, Dim dx, bool flip,
                 const PixelTable& table, float* to) {
  // Output columns [first, last) lie inside the input.
  const Dim first = std::clamp<Dim>(-dx, 0, width), last = std::clamp<Dim>(width - dx, first, width);
  for (std::size_t c = 0; c < table.size(); ++c) {
    const auto& value = table[c];
    for (Dim y = 0; y < height; ++y, to += width) {
      if (y + dy < 0 || y + dy >= height) {
        std::fill_n(to, width, value[0]);
        continue;
      }
      const std::uint8_t* row = from + (static_cast<Dim>(c) * height + y + dy) * width;
      std::fill(to, to + first, value[0]);
      if (flip) {
        for (Dim x = first; x < last; ++x) to[x] = value[row[width - 1 - (x + dx)]];
      } else {
        for (Dim x = first; x < last; ++x) to[x] = value[row[x + dx]];
      }
      std::fill(to + last, to + width, value[0]);
    }
  }
}

namespace {

// The logarithm of Gamma(alpha, 1), which is mostly too small for a double where alpha is small, by Marsaglia and Tsang 2000,
// "A simple method for generating gamma variables"; alpha below 1 through alpha + 1 and a power of a uniform number. Every
// attempt has random words of its own.
double sample_log_gamma(const Random& random, double alpha) {
  const double shape = alpha < 1 ? alpha + 1 : alpha;
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  const auto open_uniform = [&](std::uint64_t index) { return (random.bits(index) + 0.5) * 0x1p-32; };
  double result = 0;
  for (std::uint64_t attempt = 1; result == 0; ++attempt) {
    const double x = random.normal(8 * attempt);  // words 8 * attempt and the next
    const double u = open_uniform(8 * attempt + 4);
    const double v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) result = d * v;
  }
  return std::log(result) + (alpha < 1 ? std::log(open_uniform(0)) / alpha : 0);
}

}  // namespace

double sample_beta(const Random& random, double alpha) {
  // Two Gamma numbers from two halves of the key space.
  const std::uint64_t first = random.bits(0), second = random.bits(1);
  const double a = sample_log_gamma(Random(key_of(first, "gamma 0")), alpha);
  const double b = sample_log_gamma(Random(key_of(second, "gamma 1")), alpha);
  return 1 / (1 + std::exp(b - a));
}

Box cutmix_box(Dim height, Dim width, double keep, float centre_y, float centre_x) {
  const double side = std::sqrt(std::max(0.0, 1 - keep));
  const auto cut = [&](Dim size, float centre) {
    const auto middle = static_cast<Dim>(centre * static_cast<float>(size));
    const auto half = static_cast<Dim>(side * static_cast<double>(size)) / 2;
    return std::pair{std::max<Dim>(middle - half, 0), std::min<Dim>(middle + half, size)};
  };
  const auto [top, bottom] = cut(height, centre_y);
  const auto [left, right] = cut(width, centre_x);
  return {top, left, bottom, right};
}

}  // namespace ashlar::data
