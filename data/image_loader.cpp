#include "data/image_loader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "data/augment.h"
#include "data/permutation.h"

namespace ashlar::data {
namespace {

// Images that a thread must have to be worth starting: about a megabyte of values.
Dim grain(Dim values_per_image) { return std::max<Dim>((1 << 18) / values_per_image, 1); }

void check_split(const ImageSplit& split, Dim batch) {
  ASHLAR_CHECK(split.size() > 0, "images: the split is empty");
  ASHLAR_CHECK(batch >= 1, "images: the batch size must be at least 1, got ", batch);
  const Shape shape = split.images.shape();
  ASHLAR_CHECK(
      shape.ndim() == 4 && shape[1] == 3 && split.images.dtype() == DType::u8 && split.images.contiguous(),
      "images: need u8 images (N, 3, H, W), got ", split.images.dtype(), " ", shape);
  ASHLAR_CHECK(split.labels.shape() == Shape({shape[0]}) && split.labels.dtype() == DType::i32,
               "images: need i32 labels (", shape[0], "), got ", split.labels.dtype(), " ",
               split.labels.shape());
}

ImageBatch empty_batch(Dim size, const Shape& images) {
  return {Array::empty({size, 3, images[2], images[3]}), Array::empty({size}, DType::i32),
          Array::empty({size}, DType::i32), Array::full({size}, 1.0)};
}

PixelTable pixel_table(const Normalisation& normalisation) {
  PixelTable table;
  for (std::size_t c = 0; c < table.size(); ++c) {
    ASHLAR_CHECK(normalisation.std[c] > 0, "images: the standard deviation of channel ", c,
                 " must be positive, got ", normalisation.std[c]);
    for (std::size_t value = 0; value < 256; ++value)
      table[c][value] = (static_cast<float>(value) / 255.f - normalisation.mean[c]) / normalisation.std[c];
  }
  return table;
}

}  // namespace

Normalisation channel_statistics(const ImageSplit& split) {
  check_split(split, 1);
  const Dim area = split.images.size(2) * split.images.size(3);
  const auto* pixels = split.images.data<std::uint8_t>();
  Normalisation result;
  for (Dim c = 0; c < 3; ++c) {
    std::uint64_t sum = 0, squares = 0;
    for (Dim i = 0; i < split.size(); ++i) {
      const std::uint8_t* plane = pixels + (i * 3 + c) * area;
      for (Dim p = 0; p < area; ++p) {
        const std::uint32_t value = plane[p];
        sum += value;
        squares += value * value;
      }
    }
    const auto count = static_cast<double>(split.size() * area);
    const double mean = static_cast<double>(sum) / count;
    const double variance = static_cast<double>(squares) / count - mean * mean;
    const auto channel = static_cast<std::size_t>(c);
    result.mean[channel] = static_cast<float>(mean / 255);
    // A channel without variation is only centred.
    result.std[channel] = variance > 1e-6 ? static_cast<float>(std::sqrt(variance) / 255) : 1.f;
  }
  return result;
}

ImageLoader::ImageLoader(ImageSplit split, Dim batch, std::uint64_t seed, const Augmentation& augmentation,
                         const Normalisation& normalisation)
    : split_(std::move(split)),
      batch_(batch),
      order_key_(key_of(seed, "data/order")),
      augment_key_(key_of(seed, "data/augment")),
      mix_key_(key_of(seed, "data/mix")),
      augmentation_(augmentation),
      table_(pixel_table(normalisation)) {
  check_split(split_, batch_);
  const Dim side = std::max(split_.images.size(2), split_.images.size(3));
  ASHLAR_CHECK(augmentation.crop_padding >= 0 && augmentation.crop_padding <= side,
               "images: crop padding must be from 0 to the side of the images, ", side, ", got ",
               augmentation.crop_padding);
  ASHLAR_CHECK(augmentation.mixup >= 0 && augmentation.cutmix >= 0,
               "images: the alphas of mixup and cutmix must not be negative, got ", augmentation.mixup,
               " and ", augmentation.cutmix);
}

// The image at position `sample` of the endless stream of shuffled epochs.
Dim ImageLoader::sample_index(std::int64_t sample) const {
  const auto count = static_cast<std::uint64_t>(split_.size()), position = static_cast<std::uint64_t>(sample);
  return static_cast<Dim>(Permutation(count, order_key_, position / count)(position % count));
}

// Writes the augmented image at position `sample` of the stream and returns its label.
std::int32_t ImageLoader::make_image(std::int64_t sample, float* to) const {
  const Dim height = split_.images.size(2), width = split_.images.size(3), index = sample_index(sample);
  const Random random(augment_key_, static_cast<std::uint64_t>(sample));
  const Dim padding = augmentation_.crop_padding;
  const auto shift = [&](std::uint64_t draw) {
    return static_cast<Dim>(random.below(draw, static_cast<std::uint32_t>(2 * padding + 1))) - padding;
  };
  const bool flip = augmentation_.flip && random.below(2, 2) == 1;
  place_image(split_.images.data<std::uint8_t>() + index * 3 * height * width, height, width, shift(0), shift(1),
              flip, table_, to);
  return split_.labels.data<std::int32_t>()[index];
}

// Mixes `next`, the image at position sample + 1, into that at `sample` and returns the weight that this one keeps.
float ImageLoader::mix_image(std::int64_t sample, float* image, const float* next) const {
  const double mixup = augmentation_.mixup, cutmix = augmentation_.cutmix;
  const Random random(mix_key_, static_cast<std::uint64_t>(sample));
  const bool use_cutmix = cutmix > 0 && (mixup == 0 || random.below(0, 2) == 1);
  // Beta numbers have a key of their own: how many words they use is not known beforehand.
  const double keep = sample_beta(Random(random.bits(1), random.bits(2)), use_cutmix ? cutmix : mixup);
  const Dim height = split_.images.size(2), width = split_.images.size(3);
  if (!use_cutmix) {
    const auto lambda = static_cast<float>(keep);
    for (Dim i = 0; i < 3 * height * width; ++i) image[i] = lambda * image[i] + (1 - lambda) * next[i];
    return lambda;
  }
  const Box box = cutmix_box(height, width, keep, random.uniform(4), random.uniform(5));
  for (Dim c = 0; c < 3; ++c) {
    for (Dim y = box.top; y < box.bottom; ++y) {
      const Dim begin = (c * height + y) * width + box.left;
      std::copy_n(next + begin, box.right - box.left, image + begin);
    }
  }
  return 1.f - static_cast<float>(box.area()) / static_cast<float>(height * width);
}

ImageBatch ImageLoader::at(std::int64_t step) const {
  ASHLAR_CHECK(step >= 0, "images: step must not be negative, got ", step);
  ImageBatch batch = empty_batch(batch_, split_.images.shape());
  const Dim size = batch.images.numel() / batch_;
  auto* images = batch.images.data<float>();
  auto* label = batch.labels.data<std::int32_t>();
  auto* other_label = batch.other_labels.data<std::int32_t>();
  auto* weight = batch.weight.data<float>();
  const std::int64_t first = step * batch_;
  const bool mixes = augmentation_.mixup > 0 || augmentation_.cutmix > 0;
  parallel_for(batch_, grain(size), [&](Dim begin, Dim end) {
    // The image that is mixed into the last one belongs to another thread or batch: it is made here once more.
    std::vector<float> beyond(static_cast<std::size_t>(mixes ? size : 0));
    const auto row = [&](Dim b) { return b < end ? images + b * size : beyond.data(); };
    for (Dim b = begin; b < (mixes ? end + 1 : end); ++b) {
      const std::int32_t own = make_image(first + b, row(b));
      if (b < end) label[b] = other_label[b] = own;
      if (!mixes || b == begin) continue;
      // Now the row before can be mixed; row b is itself mixed only after that.
      other_label[b - 1] = own;
      weight[b - 1] = mix_image(first + b - 1, row(b - 1), row(b));
    }
  });
  return batch;
}

ImageEvaluation::ImageEvaluation(ImageSplit split, Dim batch, const Normalisation& normalisation)
    : split_(std::move(split)), batch_(batch), table_(pixel_table(normalisation)) {
  check_split(split_, batch_);
}

ImageBatch ImageEvaluation::at(std::int64_t index) const {
  ASHLAR_CHECK(index >= 0 && index < batches(), "images: evaluation batch ", index, " of ", batches());
  const Dim begin = index * batch_, end = std::min(begin + batch_, split_.size());
  ImageBatch batch = empty_batch(end - begin, split_.images.shape());
  const Dim height = split_.images.size(2), width = split_.images.size(3), size = 3 * height * width;
  const auto* pixels = split_.images.data<std::uint8_t>();
  auto* out = batch.images.data<float>();
  parallel_for(end - begin, grain(size), [&](Dim first, Dim last) {
    for (Dim b = first; b < last; ++b)
      place_image(pixels + (begin + b) * size, height, width, 0, 0, false, table_, out + b * size);
  });
  const auto* labels = split_.labels.data<std::int32_t>();
  std::copy_n(labels + begin, end - begin, batch.labels.data<std::int32_t>());
  std::copy_n(labels + begin, end - begin, batch.other_labels.data<std::int32_t>());
  return batch;
}

}  // namespace ashlar::data
