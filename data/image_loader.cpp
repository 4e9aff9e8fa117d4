#include "data/image_loader.h"

#include <algorithm>
#include <utility>

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
      normalisation_(normalisation) {
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

ImageBatch ImageLoader::at(std::int64_t step) const {
  ASHLAR_CHECK(step >= 0, "images: step must not be negative, got ", step);
  ImageBatch batch = empty_batch(batch_, split_.images.shape());
  const Dim height = split_.images.size(2), width = split_.images.size(3), size = 3 * height * width;
  const auto* pixels = split_.images.data<std::uint8_t>();
  const auto* labels = split_.labels.data<std::int32_t>();
  auto* out = batch.images.data<float>();
  auto* label = batch.labels.data<std::int32_t>();
  auto* other_label = batch.other_labels.data<std::int32_t>();
  auto* weight = batch.weight.data<float>();
  const PixelTable table = pixel_table(normalisation_);

  // Writes the augmented image of row b to `to` and returns its label.
  const auto make_row = [&](Dim b, float* to) {
    const std::int64_t sample = step * batch_ + b;
    const Dim index = sample_index(sample);
    const Random random(augment_key_, static_cast<std::uint64_t>(sample));
    const Dim padding = augmentation_.crop_padding;
    const auto shift = [&](std::uint64_t draw) {
      return static_cast<Dim>(random.below(draw, static_cast<std::uint32_t>(2 * padding + 1))) - padding;
    };
    const bool flip = augmentation_.flip && random.below(2, 2) == 1;
    place_image(pixels + index * size, height, width, shift(0), shift(1), flip, table, to);
    return labels[index];
  };
  parallel_for(batch_, grain(size), [&](Dim begin, Dim end) {
    for (Dim b = begin; b < end; ++b) label[b] = other_label[b] = make_row(b, out + b * size);
  });
  const double mixup = augmentation_.mixup, cutmix = augmentation_.cutmix;
  if ((mixup == 0 && cutmix == 0) || batch_ == 1) return batch;

  // Row b takes from row b + 1, the last from row 0.
  const Array unmixed = batch.images.clone();
  const auto* source = unmixed.data<float>();
  parallel_for(batch_, grain(size), [&](Dim begin, Dim end) {
    for (Dim b = begin; b < end; ++b) {
      const Dim partner = (b + 1) % batch_;
      const Random random(mix_key_, static_cast<std::uint64_t>(step * batch_ + b));
      const bool use_cutmix = cutmix > 0 && (mixup == 0 || random.below(0, 2) == 1);
      // Beta numbers have a key of their own: how many words they use is not known beforehand.
      const double keep = sample_beta(Random(random.bits(1), random.bits(2)), use_cutmix ? cutmix : mixup);
      float* row = out + b * size;
      const float* from = source + partner * size;
      other_label[b] = label[partner];
      if (use_cutmix) {
        const Box box = cutmix_box(height, width, keep, random.uniform(4), random.uniform(5));
        for (Dim c = 0; c < 3; ++c)
          for (Dim y = box.top; y < box.bottom; ++y)
            std::copy_n(from + (c * height + y) * width + box.left, box.right - box.left,
                        row + (c * height + y) * width + box.left);
        weight[b] = 1.f - static_cast<float>(box.area()) / static_cast<float>(height * width);
      } else {
        const auto lambda = static_cast<float>(keep);
        for (Dim i = 0; i < size; ++i) row[i] = lambda * row[i] + (1 - lambda) * from[i];
        weight[b] = lambda;
      }
    }
  });
  return batch;
}

ImageEvaluation::ImageEvaluation(ImageSplit split, Dim batch, const Normalisation& normalisation)
    : split_(std::move(split)), batch_(batch), normalisation_(normalisation) {
  check_split(split_, batch_);
}

ImageBatch ImageEvaluation::at(std::int64_t index) const {
  ASHLAR_CHECK(index >= 0 && index < batches(), "images: evaluation batch ", index, " of ", batches());
  const Dim begin = index * batch_, end = std::min(begin + batch_, split_.size());
  ImageBatch batch = empty_batch(end - begin, split_.images.shape());
  const Dim height = split_.images.size(2), width = split_.images.size(3), size = 3 * height * width;
  const auto* pixels = split_.images.data<std::uint8_t>();
  auto* out = batch.images.data<float>();
  const PixelTable table = pixel_table(normalisation_);
  parallel_for(end - begin, grain(size), [&](Dim first, Dim last) {
    for (Dim b = first; b < last; ++b)
      place_image(pixels + (begin + b) * size, height, width, 0, 0, false, table, out + b * size);
  });
  const auto* labels = split_.labels.data<std::int32_t>();
  std::copy_n(labels + begin, end - begin, batch.labels.data<std::int32_t>());
  std::copy_n(labels + begin, end - begin, batch.other_labels.data<std::int32_t>());
  return batch;
}

}  // namespace ashlar::data
