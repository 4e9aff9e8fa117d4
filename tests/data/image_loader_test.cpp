#include "data/image_loader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/parallel.h"
#include "core/random.h"
#include "data/augment.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

// Image i has label i; its first pixel's red byte is i, all others are random.
ImageSplit numbered_images(Dim count, Dim height, Dim width) {
  ImageSplit split{Array::empty({count, 3, height, width}, DType::u8), Array::empty({count}, DType::i32)};
  const Random random(99);
  auto* pixels = split.images.data<std::uint8_t>();
  for (Dim i = 0; i < split.images.numel(); ++i)
    pixels[i] = static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(i), 256));
  for (Dim i = 0; i < count; ++i) {
    split.labels.data<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    pixels[i * 3 * height * width] = static_cast<std::uint8_t>(i);
  }
  return split;
}

const Normalisation kPlain{{0, 0, 0}, {1, 1, 1}};
const Normalisation kUneven{{0.4f, 0.5f, 0.6f}, {0.2f, 0.3f, 0.7f}};
constexpr Augmentation kNone{0, false, 0, 0};

std::vector<float> pixels_of(const ImageBatch& batch) { return batch.images.to_vector<float>(); }

bool same_batch(const ImageBatch& a, const ImageBatch& b) {
  return pixels_of(a) == pixels_of(b) &&
         a.labels.to_vector<std::int32_t>() == b.labels.to_vector<std::int32_t>() &&
         a.other_labels.to_vector<std::int32_t>() == b.other_labels.to_vector<std::int32_t>() &&
         a.weight.to_vector<float>() == b.weight.to_vector<float>();
}

}  // namespace

TEST_CASE("channel_statistics_match_the_definition", "[data]") {
  const ImageSplit split = numbered_images(7, 3, 5);
  const Normalisation found = channel_statistics(split);
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (Dim i = 0; i < 7; ++i) {
      for (Dim p = 0; p < 15; ++p) {
        const double value =
            split.images.data<std::uint8_t>()[(i * 3 + static_cast<Dim>(c)) * 15 + p] / 255.0;
        sum += value;
        squares += value * value;
      }
    }
    const double mean = sum / 105;
    REQUIRE(std::abs(found.mean[c] - mean) <= 1e-6);
    REQUIRE(std::abs(found.std[c] - std::sqrt(squares / 105 - mean * mean)) <= 1e-6);
  }
}

TEST_CASE("a channel that has one value is centred and not scaled", "[data]") {
  ImageSplit split = numbered_images(2, 2, 2);
  std::fill_n(split.images.data<std::uint8_t>(), 4, std::uint8_t{51});          // of the first image the first channel
  std::fill_n(split.images.data<std::uint8_t>() + 3 * 4, 4, std::uint8_t{51});  // and of the second
  const Normalisation found = channel_statistics(split);
  CHECK((found.mean[0] == 0.2f && found.std[0] == 1));
  CHECK(found.std[1] != 1);
}

TEST_CASE("every_epoch_shows_each_image_once_in_another_order", "[data]") {
  const Dim count = 53, batch = 7;
  const ImageLoader loader(numbered_images(count, 4, 4), batch, 3, {2, true, 0, 0}, kPlain);
  std::vector<std::int32_t> stream;
  for (std::int64_t step = 0; step * batch < 3 * count; ++step) {
    const auto labels = loader.at(step).labels.to_vector<std::int32_t>();
    stream.insert(stream.end(), labels.begin(), labels.end());
  }
  std::vector<std::vector<std::int32_t>> epochs;
  for (Dim e = 0; e < 3; ++e) {
    epochs.emplace_back(stream.begin() + e * count, stream.begin() + (e + 1) * count);
    REQUIRE(std::set<std::int32_t>(epochs.back().begin(), epochs.back().end()).size() ==
            static_cast<std::size_t>(count));
    REQUIRE(!std::is_sorted(epochs.back().begin(), epochs.back().end()));
  }
  REQUIRE(epochs[0] != epochs[1]);
  REQUIRE(epochs[1] != epochs[2]);
  REQUIRE(std::abs(53 / loader.steps_per_epoch() - 7.0) <= 1e-12);
}

TEST_CASE("image_batches_are_a_pure_function_of_seed_and_step", "[data]") {
  const ImageSplit split = numbered_images(31, 8, 6);
  const Augmentation everything{3, true, 0.4, 1.0};
  const ImageLoader loader(split, 9, 5, everything, kUneven);
  const ImageBatch first = loader.at(11);
  loader.at(4);
  REQUIRE(same_batch(first, loader.at(11)));
  REQUIRE(same_batch(first, ImageLoader(split, 9, 5, everything, kUneven).at(11)));
  REQUIRE(!same_batch(first, ImageLoader(split, 9, 6, everything, kUneven).at(11)));
  REQUIRE(!same_batch(first, loader.at(12)));
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 2 : 1);
  const bool same = same_batch(first, loader.at(11));
  set_num_threads(threads);
  REQUIRE(same);
}

TEST_CASE("batches_of_any_size_hold_the_same_rows", "[data]") {
  const ImageSplit split = numbered_images(11, 160, 150);  // large enough for two threads
  const Augmentation everything{3, true, 0.4, 1.0};
  const ImageLoader whole(split, 8, 5, everything, kUneven);
  const int threads = num_threads();
  set_num_threads(2);
  for (const Dim part : {1, 2, 4}) {
    const ImageLoader parts(split, part, 5, everything, kUneven);
    for (std::int64_t step = 0; step < 3; ++step) {  // to the middle of the third epoch
      const ImageBatch batch = whole.at(step);
      for (Dim begin = 0; begin < 8; begin += part) {
        const auto rows = [&](const Array& all) { return all.slice(0, begin, begin + part); };
        const ImageBatch expected{rows(batch.images), rows(batch.labels), rows(batch.other_labels), rows(batch.weight)};
        CHECK(same_batch(parts.at((step * 8 + begin) / part), expected));
      }
    }
  }
  set_num_threads(threads);
}

TEST_CASE("images_are_normalised", "[data]") {
  const ImageSplit split = numbered_images(5, 3, 2);
  const ImageBatch batch = ImageLoader(split, 3, 1, kNone, kUneven).at(0);
  REQUIRE(batch.images.shape() == Shape({3, 3, 3, 2}));
  for (Dim b = 0; b < 3; ++b) {
    const Dim index = batch.labels.data<std::int32_t>()[b];
    for (Dim i = 0; i < 18; ++i) {
      const auto c = static_cast<std::size_t>(i / 6);
      const double expected =
          (split.images.data<std::uint8_t>()[index * 18 + i] / 255.0 - kUneven.mean[c]) / kUneven.std[c];
      REQUIRE(std::abs(batch.images.data<float>()[b * 18 + i] - expected) <= 1e-5);
    }
  }
  REQUIRE(batch.weight.to_vector<float>() == std::vector<float>(3, 1.f));
  REQUIRE(batch.other_labels.to_vector<std::int32_t>() == batch.labels.to_vector<std::int32_t>());
}

TEST_CASE("crops_and_flips_are_views_of_the_padded_image", "[data]") {
  const Dim height = 5, width = 7, padding = 2, size = 3 * height * width;
  const ImageSplit split = numbered_images(11, height, width);
  const ImageLoader loader(split, 16, 2, {padding, true, 0, 0}, kPlain);
  // Every row must be one of the 2 x 5 x 5 possible views; all of them must turn up, about equally often.
  std::map<std::array<Dim, 3>, int> seen;
  int rows = 0;
  for (std::int64_t step = 0; step < 125; ++step) {
    const ImageBatch batch = loader.at(step);
    for (Dim b = 0; b < 16; ++b, ++rows) {
      const auto* from = split.images.data<std::uint8_t>() + batch.labels.data<std::int32_t>()[b] * size;
      const float* row = batch.images.data<float>() + b * size;
      int matches = 0;
      for (Dim flip = 0; flip < 2; ++flip)
        for (Dim dy = -padding; dy <= padding; ++dy)
          for (Dim dx = -padding; dx <= padding; ++dx) {
            bool same = true;
            for (Dim i = 0; i < size && same; ++i) {
              const Dim c = i / (height * width), y = i / width % height + dy, x = i % width + dx;
              const bool inside = y >= 0 && y < height && x >= 0 && x < width;
              const Dim column = flip == 1 ? width - 1 - x : x;
              const float expected =
                  inside ? static_cast<float>(from[(c * height + y) * width + column]) / 255.f : 0.f;
              same = row[i] == expected;
            }
            if (same) {
              ++matches;
              ++seen[{flip, dy, dx}];
            }
          }
      REQUIRE(matches == 1);
    }
  }
  REQUIRE(seen.size() == 50);  // 2000 rows, 40 expected each, standard deviation 6.3
  for (const auto& [view, times] : seen) REQUIRE((times > 12 && times < 75));
}

TEST_CASE("mixup_blends_neighbours_and_labels_alike", "[data]") {
  const ImageSplit split = numbered_images(23, 4, 4);
  // Rows 18 to 23 of the stream, and the one after them.
  const ImageBatch plain = ImageLoader(split, 6, 8, kNone, kUneven).at(3);
  const ImageBatch after = ImageLoader(split, 1, 8, kNone, kUneven).at(24);
  const ImageBatch mixed = ImageLoader(split, 6, 8, {0, false, 0.8, 0}, kUneven).at(3);
  REQUIRE(plain.labels.to_vector<std::int32_t>() == mixed.labels.to_vector<std::int32_t>());
  std::set<float> weights;
  for (Dim b = 0; b < 6; ++b) {
    const ImageBatch& source = b < 5 ? plain : after;
    const Dim next = b < 5 ? b + 1 : 0;
    REQUIRE(mixed.other_labels.data<std::int32_t>()[b] == source.labels.data<std::int32_t>()[next]);
    const float weight = mixed.weight.data<float>()[b];
    REQUIRE((weight >= 0 && weight <= 1));
    weights.insert(weight);
    for (Dim i = 0; i < 48; ++i) {
      const double expected = double{weight} * plain.images.data<float>()[b * 48 + i] +
                              (1 - double{weight}) * source.images.data<float>()[next * 48 + i];
      REQUIRE(std::abs(mixed.images.data<float>()[b * 48 + i] - expected) <= 1e-5);
    }
  }
  REQUIRE(weights.size() == 6);
}

TEST_CASE("where_both_are_asked_for_an_image_has_mixup_or_cutmix_each_in_half_of_the_cases", "[data]") {
  constexpr Dim kImages = 200, kPixels = 24;
  const ImageSplit split = numbered_images(kImages, 6, 4);
  const ImageBatch plain = ImageLoader(split, kImages, 8, kNone, kPlain).at(0);
  const ImageBatch mixed = ImageLoader(split, kImages, 8, {0, false, 0.8, 1.0}, kPlain).at(0);
  int pasted = 0;
  for (Dim b = 0; b < kImages - 1; ++b) {
    bool whole = true;  // every pixel is that of one of the two
    for (Dim i = 0; i < 3 * kPixels; ++i) {
      const auto value = [&](const ImageBatch& batch, Dim row) { return batch.images.data<float>()[row * 3 * kPixels + i]; };
      whole = whole && (value(mixed, b) == value(plain, b) || value(mixed, b) == value(plain, b + 1));
    }
    pasted += whole;
  }
  REQUIRE((pasted > 60 && pasted < 140));  // 100 expected, standard deviation 7
}

TEST_CASE("cutmix_pastes_a_box_and_weighs_labels_by_area", "[data]") {
  const ImageSplit split = numbered_images(23, 9, 6);
  const ImageBatch plain = ImageLoader(split, 8, 8, kNone, kPlain).at(1);
  const ImageBatch after = ImageLoader(split, 1, 8, kNone, kPlain).at(16);
  const ImageBatch mixed = ImageLoader(split, 8, 8, {0, false, 0, 1.0}, kPlain).at(1);
  int pasted_rows = 0;
  for (Dim b = 0; b < 8; ++b) {
    const ImageBatch& source = b < 7 ? plain : after;
    const Dim next = b < 7 ? b + 1 : 0;
    const auto value = [&](const ImageBatch& batch, Dim row, Dim i) {
      return batch.images.data<float>()[row * 162 + i];
    };
    // A pixel is foreign when it equals the neighbour's and not its own, in any channel.
    std::set<Dim> rows, columns;
    Dim foreign = 0;
    for (Dim p = 0; p < 54; ++p) {
      bool own = true, other = true;
      for (Dim c = 0; c < 3; ++c) {
        own = own && value(mixed, b, c * 54 + p) == value(plain, b, c * 54 + p);
        other = other && value(mixed, b, c * 54 + p) == value(source, next, c * 54 + p);
      }
      REQUIRE((own || other));
      if (!own) {
        ++foreign;
        rows.insert(p / 6);
        columns.insert(p % 6);
      }
    }
    REQUIRE(foreign == static_cast<Dim>(rows.size() * columns.size()));  // a full rectangle
    REQUIRE(std::abs(mixed.weight.data<float>()[b] - (1 - static_cast<double>(foreign) / 54)) <= 1e-6);
    REQUIRE(mixed.other_labels.data<std::int32_t>()[b] == source.labels.data<std::int32_t>()[next]);
    pasted_rows += foreign > 0;
  }
  REQUIRE(pasted_rows >= 3);
}

TEST_CASE("beta_numbers_have_the_moments_of_the_distribution", "[data]") {
  for (const double alpha : {0.001, 0.2, 1.0, 2.5}) {
    constexpr int kDraws = 20000;
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = sample_beta(Random(17, static_cast<std::uint64_t>(i)), alpha);
      REQUIRE((x >= 0 && x <= 1));
      sum += x;
      squares += x * x;
    }
    const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
    const double expected = 1 / (4 * (2 * alpha + 1));
    REQUIRE(std::abs(mean - 0.5) <= 5 * std::sqrt(expected / kDraws));
    REQUIRE(std::abs(variance / expected - 1) <= 0.05);
  }
}

TEST_CASE("cutmix_boxes_cover_the_area_asked_for", "[data]") {
  const Box centre = cutmix_box(32, 32, 0.75, 0.5f, 0.5f);
  REQUIRE(centre.area() == 16 * 16);
  const Box corner = cutmix_box(32, 32, 0.0, 0.f, 0.f);
  REQUIRE((corner.top == 0 && corner.left == 0 && corner.area() == 16 * 16));
  REQUIRE(cutmix_box(32, 32, 1.0, 0.3f, 0.9f).area() == 0);
}

TEST_CASE("evaluation_shows_the_split_once_in_order", "[data]") {
  const ImageSplit split = numbered_images(23, 3, 4);
  const ImageEvaluation evaluation(split, 10, kPlain);
  REQUIRE(evaluation.batches() == 3);
  REQUIRE(evaluation.at(2).size() == 3);
  Dim index = 0;
  for (std::int64_t i = 0; i < evaluation.batches(); ++i) {
    const ImageBatch batch = evaluation.at(i);
    for (Dim b = 0; b < batch.size(); ++b, ++index) {
      REQUIRE(batch.labels.data<std::int32_t>()[b] == index);
      REQUIRE(batch.images.data<float>()[b * 36] == static_cast<float>(index) / 255.f);
    }
  }
  REQUIRE(index == 23);
  REQUIRE(contains(error_of([&] { evaluation.at(3); }), "3 of 3"));
}

TEST_CASE("image_loaders_refuse_nonsense", "[data]") {
  const ImageSplit split = numbered_images(4, 3, 3);
  REQUIRE(contains(error_of([&] { ImageLoader(split, 0, 1, kNone, kPlain); }), "batch size"));
  REQUIRE(contains(error_of([&] { ImageLoader({}, 2, 1, kNone, kPlain); }), "empty"));
  REQUIRE(contains(error_of([&] { ImageLoader(split, 2, 1, {-1, false, 0, 0}, kPlain); }), "padding"));
  for (const Dim padding : {Dim{4}, Dim{3'000'000'000}}) {
    REQUIRE(contains(error_of([&] { ImageLoader(split, 2, 1, {padding, false, 0, 0}, kPlain); }),
                     concat("padding must be from 0 to the side of the images, 3, got ", padding)));
  }
  REQUIRE(contains(error_of([&] { ImageLoader(split, 2, 1, {0, false, -1, 0}, kPlain); }), "mixup"));
  REQUIRE(contains(error_of([&] { ImageLoader(split, 2, 1, kNone, kPlain).at(-1); }), "step"));
  const Normalisation flat{{}, {1, 0, 1}};
  REQUIRE(contains(error_of([&] { ImageLoader(split, 2, 1, kNone, flat); }), "channel 1"));
  REQUIRE(contains(error_of([&] { ImageEvaluation(split, 2, flat); }), "channel 1"));
}

}  // namespace ashlar::data
