// The embedded default of train_vit: shapes drawn from formulas.
#include <algorithm>
#include <numbers>

#include "core/parallel.h"
#include "core/random.h"
#include "data/image_dataset.h"

namespace ashlar::data {
namespace {

constexpr Dim kSide = 32;
enum : std::int32_t {
  kDisc,
  kRing,
  kCrescent,
  kSquare,
  kTriangle,
  kStar,
  kCross,
  kStripes,
  kCheckers,
  kDots,
  kClasses
};

struct Point {
  float x, y;
};
float length(Point p) { return std::sqrt(p.x * p.x + p.y * p.y); }

// Whether class `label` covers p, in coordinates where the shape fills about the unit disc and looks upright.
bool covers(std::int32_t label, Point p) {
  const float r = length(p);
  const auto odd_cell = [](float v) { return (static_cast<int>(std::floor(v)) & 1) != 0; };
  const float nearer = std::min(std::abs(p.x), std::abs(p.y)),
              farther = std::max(std::abs(p.x), std::abs(p.y));
  // clang-format off
  switch (label) {
    case kDisc: return r < 0.9f;
    case kRing: return r < 0.95f && r > 0.55f;
    case kCrescent: return r < 0.95f && length({p.x - 0.4f, p.y}) > 0.75f;
    case kSquare: return farther < 0.75f;
    case kTriangle: return p.y < 0.6f && p.y > -0.95f + 1.8f * std::abs(p.x);
    case kStar: {
      constexpr float kSector = 2 * std::numbers::pi_v<float> / 5;
      const float angle = std::atan2(p.x, -p.y);
      const float from_tip = std::abs(angle - kSector * std::round(angle / kSector)) / (kSector / 2);
      return r < 1.05f - 0.65f * from_tip;
    }
    case kCross: return nearer < 0.28f && farther < 0.95f;
    case kStripes: return r < 0.98f && odd_cell(p.x * 2.6f);
    case kCheckers: return farther < 0.8f && odd_cell(p.x * 2.5f) != odd_cell(p.y * 2.5f);
    default: return length({std::abs(p.x) - 0.58f, p.y}) < 0.4f;
  }
  // clang-format on
}

// Uniform numbers of one image, in the order they are asked for.
class Draws {
 public:
  Draws(std::uint64_t key, std::uint64_t image) : random_(key, image) {}
  float between(float low, float high) { return low + (high - low) * random_.uniform(next_++); }
  const Random& random() const { return random_; }

 private:
  Random random_;
  std::uint64_t next_ = 0;
};

constexpr std::uint64_t kNoiseAt = 16;  // the first block of random words beyond those that Draws uses

// A number of mean 0 and variance 1 that is nearly normal: the sum of the four bytes of a random word.
float bell(std::uint32_t word) {
  const std::uint32_t sum = (word & 0xff) + (word >> 8 & 0xff) + (word >> 16 & 0xff) + (word >> 24);
  return (static_cast<float>(sum) - 510.f) / 147.8f;
}

using Colour = std::array<float, 3>;
Colour draw_colour(Draws& draws) {
  return {draws.between(20, 235), draws.between(20, 235), draws.between(20, 235)};
}

// A colour of some hue, in turns of the colour circle: each channel falls off with the hue's distance from
// it.
Colour draw_colour(Draws& draws, float hue) {
  const float light = draws.between(0.55f, 1.f), paleness = draws.between(0.f, 0.6f);
  Colour colour;
  for (std::size_t c = 0; c < 3; ++c) {
    const float turn = hue - static_cast<float>(c) / 3, distance = std::abs(turn - std::round(turn));
    const float pure = std::clamp(2 - 6 * distance, 0.f, 1.f);
    colour[c] = 255 * light * (paleness + (1 - paleness) * pure);
  }
  return colour;
}

// A shape in ink that prefers a hue of its class, so that a network finds something to learn at once and has
// to look at the shape to get far; the ground, the clutter and all sizes say nothing about the class.
void draw_image(std::uint64_t key, Dim index, std::int32_t label, std::uint8_t* pixels) {
  Draws draws(key, static_cast<std::uint64_t>(index));
  const Colour ground = draw_colour(draws);
  float spread = draws.between(-0.25f, 0.25f);
  spread += draws.between(-0.1f, 0.1f);
  const Colour ink = draw_colour(draws, static_cast<float>(label) / static_cast<float>(kClasses) + spread);

  const float radius = draws.between(8, 13), angle = draws.between(-0.4f, 0.4f);
  const Point centre{draws.between(11, kSide - 11), draws.between(11, kSide - 11)};
  const float cosine = std::cos(angle) / radius, sine = std::sin(angle) / radius;
  const float shade_angle = draws.between(0, 2 * std::numbers::pi_v<float>), shade = draws.between(0, 2);
  const Point shading{shade * std::cos(shade_angle), shade * std::sin(shade_angle)};  // brightness a pixel
  const float noise = draws.between(4, 18);

  struct Blot {
    Point centre;
    float radius;
    Colour colour;
  };
  std::array<Blot, 3> clutter;
  for (Blot& blot : clutter)
    blot = {
        {draws.between(0, kSide), draws.between(0, kSide)}, draws.between(0.5f, 3.5f), draw_colour(draws)};

  for (Dim y = 0; y < kSide; ++y) {
    for (Dim x = 0; x < kSide; ++x) {
      const Point here{static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f};
      float coverage = 0;  // of the pixel by the shape, from four samples
      if (length({here.x - centre.x, here.y - centre.y}) < 1.1f * radius + 1) {
        for (const Point off : {Point{-0.25f, -0.25f}, {0.25f, -0.25f}, {-0.25f, 0.25f}, {0.25f, 0.25f}}) {
          const float dx = here.x + off.x - centre.x, dy = here.y + off.y - centre.y;
          if (covers(label, {cosine * dx + sine * dy, cosine * dy - sine * dx})) coverage += 0.25f;
        }
      }
      const Blot* blot = nullptr;
      for (const Blot& candidate : clutter)
        if (length({here.x - candidate.centre.x, here.y - candidate.centre.y}) < candidate.radius)
          blot = &candidate;
      const float light = shading.x * (here.x - kSide / 2) + shading.y * (here.y - kSide / 2);
      const auto grain = draws.random().block(kNoiseAt + static_cast<std::uint64_t>(y * kSide + x));
      for (std::size_t c = 0; c < 3; ++c) {
        const float base = blot ? blot->colour[c] : ground[c] + coverage * (ink[c] - ground[c]);
        pixels[(static_cast<Dim>(c) * kSide + y) * kSide + x] =
            static_cast<std::uint8_t>(std::clamp(base + light + noise * bell(grain[c]), 0.f, 255.f) + 0.5f);
      }
    }
  }
}

ImageSplit draw_split(std::uint64_t key, Dim count) {
  ASHLAR_CHECK(count >= kClasses, "procedural images: need at least ", Dim{kClasses},
               " images a split, got ", count);
  ImageSplit split{Array::empty({count, 3, kSide, kSide}, DType::u8), Array::empty({count}, DType::i32)};
  auto* pixels = split.images.data<std::uint8_t>();
  auto* labels = split.labels.data<std::int32_t>();
  constexpr Dim kGrain = 8;
  parallel_for(count, kGrain, [&](Dim begin, Dim end) {
    for (Dim i = begin; i < end; ++i) {
      labels[i] = static_cast<std::int32_t>(i % kClasses);
      draw_image(key, i, labels[i], pixels + i * 3 * kSide * kSide);
    }
  });
  return split;
}

}  // namespace

ImageDataset procedural_images(std::uint64_t seed, Dim train_count, Dim test_count) {
  return {draw_split(key_of(seed, "procedural images, train"), train_count),
          draw_split(key_of(seed, "procedural images, test"), test_count),
          {"disc", "ring", "crescent", "square", "triangle", "star", "cross", "stripes", "checkers", "dots"},
          "procedurally drawn 32x32 images of ten shapes"};
}

}  // namespace ashlar::data
