#include "data/image_dataset.h"

#include <algorithm>

#include "core/parallel.h"
#include "data/folder.h"
#include "data/image_formats.h"
#include "data/locate.h"
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

}  // namespace

ImageDataset resized(ImageDataset data, Dim side) {
  if (side == 0) return data;
  data.train = resized(data.train, side);
  data.test = resized(data.test, side);
  data.description += concat(", resized to ", side, "x", side);
  return data;
}

ImageDataset load_images(const fs::path& path, Dim side) {
  const auto recognised = [](const fs::path& folder) {
    return holds_cifar10(folder) || holds_cifar100(folder) || holds_class_folders(folder);
  };
  const auto folder = find_dataset(path, recognised, "images");
  ASHLAR_CHECK(
      folder, "images: nothing recognised in ", path.string(),
      "; looked for CIFAR-10 (data_batch_1.bin … data_batch_5.bin, test_batch.bin), CIFAR-100 (train.bin, "
      "test.bin) or train/<class>/*.{png,jpg,jpeg,bmp} with test/<class>/…, there and in its subfolders; ",
      describe_folder(path), packed_hint(path));
  if (holds_cifar10(*folder)) return resized(load_cifar10(*folder), side);
  if (holds_cifar100(*folder)) return resized(load_cifar100(*folder), side);
  return load_class_folders(*folder, side);
}

}  // namespace ashlar::data
