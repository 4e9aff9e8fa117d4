#include "data/image_dataset.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "data/folder.h"
#include "data/image_formats.h"
#include "data/locate.h"
#include "data/permutation.h"
#include "data/resize.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

// A hint when the data lies there, only packed.
std::string packed_hint(const fs::path& folder) {
  for (const fs::path& entry : sorted_entries(folder, "images")) {
    const std::string name = entry.filename().string();
    for (const std::string ending : {".tar.gz", ".tgz", ".tar", ".zip"})
      if (name.ends_with(ending)) return "; archives are not read: unpack " + name + " first";
  }
  return "; data/download.sh cifar10 fetches CIFAR-10";
}

ImageSplit resized(const ImageSplit& split, Dim side) {
  if (split.images.size(2) == side && split.images.size(3) == side) return split;
  ImageSplit result{Array::empty({split.size(), 3, side, side}, DType::u8), split.labels};
  auto* pixels = result.images.data<std::uint8_t>();
  const Dim size = 3 * side * side;
  parallel_items(split.size(), [&](Dim i) {
    const Array image = resize_and_crop(split.images.select(0, i), side);
    std::copy_n(image.data<std::uint8_t>(), size, pixels + i * size);
  });
  return result;
}

// Those of the images, in this order.
ImageSplit subset(const ImageSplit& split, const std::vector<Dim>& indices) {
  const auto count = static_cast<Dim>(indices.size());
  const Shape& shape = split.images.shape();
  ImageSplit result{Array::empty({count, shape[1], shape[2], shape[3]}, DType::u8), Array::empty({count}, DType::i32)};
  const auto* pixels = split.images.data<std::uint8_t>();
  const auto* labels = split.labels.data<std::int32_t>();
  const Dim size = shape[1] * shape[2] * shape[3];
  for (Dim i = 0; i < count; ++i) {
    const Dim from = indices[static_cast<std::size_t>(i)];
    std::copy_n(pixels + from * size, size, result.images.data<std::uint8_t>() + i * size);
    result.labels.data<std::int32_t>()[i] = labels[from];
  }
  return result;
}

}  // namespace

double held_out_fraction(const ImageDataset& data, double asked) {
  return asked == 0 && data.test.size() + data.valid.size() == 0 ? 0.1 : asked;
}

ImageDataset hold_out(ImageDataset data, double fraction, std::uint64_t seed) {
  if (fraction == 0) return data;
  ASHLAR_CHECK(data.valid.size() == 0, "--valid-fraction ", fraction, ": ", data.description,
               " have validation images of their own; leave it out");
  const auto labels = data.train.labels.to_vector<std::int32_t>();
  std::vector<std::vector<std::size_t>> of_class(data.class_names.size());
  for (std::size_t i = 0; i < labels.size(); ++i) of_class[static_cast<std::size_t>(labels[i])].push_back(i);
  std::vector<bool> held(labels.size());
  const std::uint64_t key = key_of(seed, "data/valid");
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    const std::size_t count = of_class[c].size();
    if (count == 0) continue;
    const auto share = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(count)));
    const auto check = [&](bool some, const char* use, const char* change) {
      ASHLAR_CHECK(some, "--valid-fraction ", fraction, ": of the ", count, " training images of class '", data.class_names[c],
                   "' none would be left for ", use, "; give a ", change, " fraction, or more images of that class");
    };
    check(share > 0, "validation", "larger");
    check(share < count, "training", "smaller");
    const Permutation order(count, key, c);
    for (std::size_t i = 0; i < share; ++i) held[of_class[c][order(i)]] = true;
  }
  std::vector<Dim> valid, train;
  for (std::size_t i = 0; i < held.size(); ++i) (held[i] ? valid : train).push_back(static_cast<Dim>(i));
  data.valid = subset(data.train, valid);
  data.train = subset(data.train, train);
  return data;
}

ImageDataset resized(ImageDataset data, Dim side) {
  if (side == 0) return data;
  for (ImageSplit* split : {&data.train, &data.test, &data.valid}) {
    if (split->size() > 0) *split = resized(*split, side);
  }
  data.description += concat(", resized to ", side, "x", side);
  return data;
}

ImageDataset load_images(const fs::path& path, Dim side) {
  const auto recognised = [](const fs::path& folder) {
    return holds_cifar10(folder) || holds_cifar100(folder) || holds_splits(folder);
  };
  auto folder = find_dataset(path, recognised, "images");
  if (!folder && holds_classes(path)) folder = path;
  ASHLAR_CHECK(
      folder, "images: nothing recognised in ", path.string(),
      "; looked for CIFAR-10 (data_batch_1.bin … data_batch_5.bin, test_batch.bin), CIFAR-100 (train.bin, "
      "test.bin) or train/<class>/*.{png,jpg,jpeg,bmp}, perhaps with test/<class>/… or val/<class>/…, there and in its "
      "subfolders, or at least two <class>/*.{png,jpg,jpeg,bmp} there; ",
      describe_folder(path), packed_hint(path));
  if (holds_cifar10(*folder)) return resized(load_cifar10(*folder), side);
  if (holds_cifar100(*folder)) return resized(load_cifar100(*folder), side);
  return load_class_folders(*folder, side);
}

}  // namespace ashlar::data
