// Training images that are kept for validation.
#include <algorithm>
#include <numeric>

#include "data/image_dataset.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

constexpr int kMany = 40, kFew = 10;

// 40 images of class 0 and 10 of class 2, none of class 1, all pixels of each its number within the class, in the order of
// `labels`; one test image.
ImageDataset dataset(const std::vector<std::int32_t>& labels) {
  std::vector<std::uint8_t> pixels;
  std::array<std::uint8_t, 3> seen{};
  for (const std::int32_t label : labels) pixels.insert(pixels.end(), 12, seen[static_cast<std::size_t>(label)]++);
  const auto count = static_cast<Dim>(labels.size());
  return {{Array::from(pixels, {count, 3, 2, 2}), Array::from(labels, {count})},
          {Array::zeros({1, 3, 2, 2}, DType::u8), Array::zeros({1}, DType::i32)},
          {"many", "none", "few"},
          "made up"};
}

std::vector<std::int32_t> one_class_after_the_other() {
  std::vector<std::int32_t> labels(kMany, 0);
  labels.insert(labels.end(), kFew, 2);
  return labels;
}

std::vector<std::int32_t> mixed_classes() {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < kMany + kFew; ++i) labels.push_back(i % 5 == 3 ? 2 : 0);
  return labels;
}

using Images = std::vector<std::pair<std::int32_t, std::uint8_t>>;  // class and number of each

Images images_of(const ImageSplit& split) {
  const auto labels = split.labels.to_vector<std::int32_t>();
  const auto pixels = split.images.to_vector<std::uint8_t>();
  REQUIRE(pixels.size() == 12 * labels.size());
  Images images;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    REQUIRE(std::all_of(pixels.data() + 12 * i, pixels.data() + 12 * (i + 1), [&](auto p) { return p == pixels[12 * i]; }));
    images.emplace_back(labels[i], pixels[12 * i]);
  }
  return images;
}

Images sorted(Images images) {
  std::ranges::sort(images);
  return images;
}

}  // namespace

TEST_CASE("the_same_share_of_every_class_is_held_out", "[data]") {
  const ImageDataset whole = dataset(mixed_classes()), data = hold_out(whole, 0.25, 1);
  const Images valid = images_of(data.valid), train = images_of(data.train);
  const auto of_few = [](const Images& images) { return std::ranges::count(images, 2, &Images::value_type::first); };
  REQUIRE((valid.size() == 10 + 3 && of_few(valid) == 3));
  REQUIRE((train.size() == 30 + 7 && of_few(train) == 7));
  Images all = train;
  all.insert(all.end(), valid.begin(), valid.end());
  REQUIRE(sorted(all) == sorted(images_of(whole.train)));
  // In the order they had, and not simply the first.
  Images rest = images_of(whole.train);
  std::erase_if(rest, [&](const auto& image) { return std::ranges::find(valid, image) != valid.end(); });
  REQUIRE(rest == train);
  REQUIRE(sorted(valid)[9].second > 9);
  REQUIRE(data.test.size() == 1);
}

TEST_CASE("what_is_held_out_depends_on_the_seed_and_not_on_how_classes_are_mixed", "[data]") {
  const auto held_out = [](const std::vector<std::int32_t>& labels, std::uint64_t seed) {
    return sorted(images_of(hold_out(dataset(labels), 0.25, seed).valid));
  };
  REQUIRE(held_out(mixed_classes(), 1) == held_out(mixed_classes(), 1));
  REQUIRE(held_out(mixed_classes(), 1) == held_out(one_class_after_the_other(), 1));
  REQUIRE(held_out(mixed_classes(), 1) != held_out(mixed_classes(), 2));
}

TEST_CASE("without_a_fraction_nothing_is_held_out", "[data]") {
  const ImageDataset whole = dataset(mixed_classes()), data = hold_out(whole, 0, 1);
  REQUIRE(data.valid.size() == 0);
  REQUIRE(images_of(data.train) == images_of(whole.train));
}

TEST_CASE("a_fraction_that_leaves_a_class_without_images_is_refused", "[data]") {
  const auto error = [](double fraction) { return error_of([&] { hold_out(dataset(mixed_classes()), fraction, 1); }); };
  REQUIRE(contains(error(0.04), "--valid-fraction 0.04: of the 10 training images of class 'few' none would be left for validation; "
                                "give a larger fraction, or more images of that class"));
  REQUIRE(contains(error(0.97), "of the 10 training images of class 'few' none would be left for training; give a smaller"));
  REQUIRE(contains(error(0.001), "of the 40 training images of class 'many'"));
}

}  // namespace ashlar::data
