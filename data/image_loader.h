// Batches of images for training and evaluation.
#pragma once
#include <array>

#include "core/rounding.h"
#include "data/image_dataset.h"

namespace ashlar::data {

// Pixels become (value / 255 − mean[c]) / std[c].
struct Normalisation {
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f};
  std::array<float, 3> std{0.5f, 0.5f, 0.5f};
};
// The mean and standard deviation of each channel over all images, from exact integer sums.
Normalisation channel_statistics(const ImageSplit& split);
// The normalised values of every byte, a table a channel.
using PixelTable = std::array<std::array<float, 256>, 3>;

struct Augmentation {
  // Black border of so many pixels, at most the longer side, then a random crop of the original size; 0: none.
  Dim crop_padding = 4;
  bool flip = true;      // left and right, with probability ½
  double mixup = 0;      // alpha of Beta(alpha, alpha); 0: none (Zhang et al. 2018)
  double cutmix = 0;     // the same for CutMix (Yun et al. 2019); with both, each image tosses a coin
};

// One row's target distribution is weight * onehot(label) + (1 − weight) * onehot(other).
struct ImageBatch {
  Array images;        // (B, 3, H, W) f32, normalised
  Array labels;        // (B) i32
  Array other_labels;  // (B) i32; the labels themselves where nothing was mixed in
  Array weight;        // (B) f32 in [0, 1]
  Dim size() const { return labels.defined() ? labels.size(0) : 0; }
};

// The training stream: epochs of the split, each in an order of its own, cut into full batches (a batch may
// hold the end of one epoch and the beginning of the next). Mixup and CutMix mix the next image of the stream
// into each. at(step) is a pure function of (seed, step); row b of it depends on nothing but
// (seed, step * B + b), so that batches of another size hold the same rows.
class ImageLoader {
 public:
  ImageLoader(ImageSplit split, Dim batch, std::uint64_t seed, const Augmentation& augmentation,
              const Normalisation& normalisation);

  ImageBatch at(std::int64_t step) const;

  double steps_per_epoch() const { return static_cast<double>(split_.size()) / static_cast<double>(batch_); }

 private:
  Dim sample_index(std::int64_t sample) const;
  std::int32_t make_image(std::int64_t sample, float* to) const;
  float mix_image(std::int64_t sample, float* image, const float* next) const;

  ImageSplit split_;
  Dim batch_;
  std::uint64_t order_key_, augment_key_, mix_key_;
  Augmentation augmentation_;
  PixelTable table_;
};

// A split once through, in order and without augmentation; the last batch may be smaller.
class ImageEvaluation {
 public:
  ImageEvaluation(ImageSplit split, Dim batch, const Normalisation& normalisation);

  Dim batches() const { return ceil_div(split_.size(), batch_); }
  ImageBatch at(std::int64_t index) const;  // of batches()

 private:
  ImageSplit split_;
  Dim batch_;
  PixelTable table_;
};

}  // namespace ashlar::data
