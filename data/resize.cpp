#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ashlar::data {
namespace {

// The pixels along a side that one of the result is made of.
struct Taps {
  Dim first;
  std::vector<float> weights;  // of sum 1
  Dim end() const { return first + static_cast<Dim>(weights.size()); }
};

// Those of the middle `count` pixels of a side that is scaled from `before` to `after` pixels.
std::vector<Taps> middle_taps(Dim before, Dim after, Dim count) {
  const double scale = static_cast<double>(before) / static_cast<double>(after), reach = std::max(scale, 1.0);
  std::vector<Taps> all(static_cast<std::size_t>(count));
  for (Dim i = 0; i < count; ++i) {
    const double centre = (static_cast<double>((after - count) / 2 + i) + 0.5) * scale;
    const auto first = static_cast<Dim>(std::max(centre - reach + 0.5, 0.0));
    const Dim end = std::min(static_cast<Dim>(centre + reach + 0.5), before);
    std::vector<double> weights;
    double sum = 0;
    for (Dim pixel = first; pixel < end; ++pixel) {
      weights.push_back(std::max(1 - std::abs(static_cast<double>(pixel) + 0.5 - centre) / reach, 0.0));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(i)];
    taps.first = first;
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight / sum));
  }
  return all;
}

}  // namespace

Array resize_and_crop(const Array& image, Dim side) {
  const Shape& shape = image.shape();
  ASHLAR_CHECK(shape.ndim() == 3 && shape.numel() > 0 && image.dtype() == DType::u8 && image.contiguous(),
               "resize: needs a u8 image (channels, H, W), got ", image.dtype(), " ", shape);
  ASHLAR_CHECK(side >= 1 && side <= kLongestSide, "resize: the side must be from 1 to ", kLongestSide, ", got ", side);
  const Dim channels = shape[0], height = shape[1], width = shape[2], shorter = std::min(height, width);
  const std::vector<Taps> rows = middle_taps(height, height * side / shorter, side);
  const std::vector<Taps> columns = middle_taps(width, width * side / shorter, side);
  const Dim top = rows.front().first, bottom = rows.back().end();
  Array result = Array::empty({channels, side, side}, DType::u8);
  auto* to = result.data<std::uint8_t>();
  std::vector<float> narrow(static_cast<std::size_t>((bottom - top) * side)), sums(static_cast<std::size_t>(side));
  for (Dim c = 0; c < channels; ++c) {
    float* value = narrow.data();
    for (Dim y = top; y < bottom; ++y) {
      const std::uint8_t* from = image.data<std::uint8_t>() + (c * height + y) * width;
      for (const Taps& taps : columns) {
        float sum = 0;
        const std::uint8_t* pixel = from + taps.first;
        for (const float weight : taps.weights) sum += weight * static_cast<float>(*pixel++);
        *value++ = sum;
      }
    }
    for (const Taps& taps : rows) {
      std::ranges::fill(sums, 0.f);
      const float* row = narrow.data() + (taps.first - top) * side;
      for (const float weight : taps.weights) {
        for (float& sum : sums) sum += weight * *row++;
      }
      for (const float sum : sums) *to++ = static_cast<std::uint8_t>(sum + 0.5f);
    }
  }
  return result;
}

}  // namespace ashlar::data
