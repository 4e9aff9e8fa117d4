#include "data/resize.h"

#include <numeric>

#include "core/random.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

using Bytes = std::vector<std::uint8_t>;

// (3, H, W) of value(channel, y, x).
template <class Value>
Array image_of(Dim height, Dim width, const Value& value) {
  Bytes pixels;
  for (Dim c = 0; c < 3; ++c)
    for (Dim y = 0; y < height; ++y)
      for (Dim x = 0; x < width; ++x) pixels.push_back(static_cast<std::uint8_t>(value(c, y, x)));
  return Array::from(pixels, {3, height, width});
}

Array random_image(Dim height, Dim width) {
  const Random random(3);
  return image_of(height, width, [&](Dim c, Dim y, Dim x) {
    return random.below(static_cast<std::uint64_t>((c * height + y) * width + x), 256);
  });
}

double mean_of(const Array& image) {
  const Bytes pixels = image.to_vector<std::uint8_t>();
  return std::accumulate(pixels.begin(), pixels.end(), 0.0) / static_cast<double>(pixels.size());
}

}  // namespace

TEST_CASE("resized_images_are_those_of_pillow", "[data]") {
  // for c in range(3):
  //     image = Image.fromarray(pixels[c], mode="F").resize((W * side // min(H, W), H * side // min(H, W)), Image.BILINEAR)
  //     its middle side x side, np.floor(… + 0.5)
  const auto resized = [](Dim height, Dim width, Dim side) {
    const auto value = [](Dim c, Dim y, Dim x) { return (37 * c + 91 * y + 53 * x + (x * y) % 17) % 256; };
    return resize_and_crop(image_of(height, width, value), side).to_vector<std::uint8_t>();
  };
  REQUIRE(resized(7, 10, 3) == Bytes{117, 145, 106, 119, 136, 114, 101, 139, 120, 126, 140, 143, 117, 123,
                                     127, 126, 139, 136, 121, 123, 132, 122, 110, 135, 124, 130, 138});
  Bytes enlarged = resized(4, 7, 6);
  enlarged.resize(36);  // red
  REQUIRE(enlarged == Bytes{66,  103, 140, 178, 202, 60,  112, 150, 187, 180, 128, 76,  163, 171, 207, 170, 70,  107,
                            182, 71,  99,  122, 133, 171, 137, 86,  119, 157, 190, 139, 87,  126, 165, 205, 231, 91});
  enlarged = resized(5, 3, 7);  // of 11 x 7 pixels
  enlarged.resize(49);
  REQUIRE(enlarged == Bytes{58,  66,  89,  112, 135, 158, 165, 99,  107, 130, 153, 167, 180, 184, 141, 148, 172,
                            195, 159, 122, 110, 182, 190, 213, 237, 151, 65,  36,  107, 115, 139, 162, 126, 90,
                            78,  32,  40,  64,  88,  102, 116, 121, 50,  58,  82,  106, 131, 155, 163});
}

TEST_CASE("images_of_the_right_size_stay_and_of_longer_ones_the_middle", "[data]") {
  const Array image = random_image(9, 9);
  REQUIRE(resize_and_crop(image, 9).to_vector<std::uint8_t>() == image.to_vector<std::uint8_t>());
  const Array wide = random_image(5, 12);
  REQUIRE(resize_and_crop(wide, 5).to_vector<std::uint8_t>() == wide.slice(2, 3, 8).to_vector<std::uint8_t>());
  const Array tall = random_image(11, 5);
  REQUIRE(resize_and_crop(tall, 5).to_vector<std::uint8_t>() == tall.slice(1, 3, 8).to_vector<std::uint8_t>());
}

TEST_CASE("one_colour_stays_that_colour_at_any_size", "[data]") {
  for (const auto& [height, width] : {std::pair<Dim, Dim>{1, 1}, {1, 700}, {50, 3}, {37, 41}, {600, 600}})
    for (const Dim side : {1, 7, 64})
      for (const int colour : {0, 1, 254, 255}) {
        const Array image = image_of(height, width, [&](Dim, Dim, Dim) { return colour; });
        CAPTURE(height, width, side, colour);
        REQUIRE(resize_and_crop(image, side).to_vector<std::uint8_t>() ==
                Bytes(static_cast<std::size_t>(3 * side * side), static_cast<std::uint8_t>(colour)));
      }
}

TEST_CASE("shrinking_by_whole_factors_keeps_the_mean", "[data]") {
  constexpr Dim kSide = 240;
  const Array noise = random_image(kSide, kSide);
  for (const Dim factor : {2, 3, 8}) {
    // Pixels at the border, which count more there, are all alike.
    const auto value = [&](Dim c, Dim y, Dim x) {
      const bool inside = std::min({y, x, kSide - 1 - y, kSide - 1 - x}) >= factor;
      return inside ? noise.data<std::uint8_t>()[(c * kSide + y) * kSide + x] : std::uint8_t{128};
    };
    const Array image = image_of(kSide, kSide, value);
    CAPTURE(factor);
    REQUIRE(std::abs(mean_of(resize_and_crop(image, kSide / factor)) - mean_of(image)) < 0.03);
  }
}

TEST_CASE("what_cannot_be_resized_is_refused", "[data]") {
  REQUIRE(error_of([] { resize_and_crop(Array::empty({3, 4, 4}), 2); }) ==
          "resize: needs a u8 image (channels, H, W), got f32 (3, 4, 4)");
  REQUIRE(contains(error_of([] { resize_and_crop(Array::empty({3, 0, 4}, DType::u8), 2); }), "got u8 (3, 0, 4)"));
  REQUIRE(error_of([] { resize_and_crop(random_image(4, 4), 0); }) == "resize: the side must be from 1 to 65536, got 0");
}

}  // namespace ashlar::data
