#include "data/image_dataset.h"

#include "data/folder.h"
#include "data/image_formats.h"
#include "data/locate.h"

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

}  // namespace

ImageDataset load_images(const fs::path& path) {
  const auto recognised = [](const fs::path& folder) {
    return holds_cifar10(folder) || holds_cifar100(folder) || holds_class_folders(folder);
  };
  const auto folder = find_dataset(path, recognised, "images");
  ASHLAR_CHECK(
      folder, "images: nothing recognised in ", path.string(),
      "; looked for CIFAR-10 (data_batch_1.bin … data_batch_5.bin, test_batch.bin), CIFAR-100 (train.bin, "
      "test.bin) or train/<class>/*.{png,jpg,jpeg,bmp} with test/<class>/…, there and in its subfolders; ",
      describe_folder(path), packed_hint(path));
  if (holds_cifar10(*folder)) return load_cifar10(*folder);
  if (holds_cifar100(*folder)) return load_cifar100(*folder);
  return load_class_folders(*folder);
}

}  // namespace ashlar::data
