// <class>/<image> in train/ and perhaps in test/ and val/, or in the folder itself.
#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "core/text.h"
#include "data/folder.h"
#include "data/image_formats.h"
#include "data/resize.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kWhat = "image folder";
constexpr const char* kOneSize = "; all must have one size, or be given one with --image N";

bool is_image(const fs::path& path) {
  const std::string ending = lowercase(path.extension().string());
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".bmp";
}

// Not of what cannot be looked at, such as a loop of links.
bool is_folder(const fs::path& path) {
  std::error_code failure;
  return fs::is_directory(path, failure);
}

// The subfolders in alphabetical order.
std::vector<std::string> class_folders(const fs::path& split) {
  ASHLAR_CHECK(is_folder(split), kWhat, ": the folder ", split.string(),
               " does not exist; needed are train/<class>/, and test/<class>/ or val/<class>/ if there are such");
  std::vector<std::string> names;
  for (const fs::path& entry : sorted_entries(split, kWhat))
    if (is_folder(entry)) names.push_back(entry.filename().string());
  ASHLAR_CHECK(!names.empty(), kWhat, ": ", split.string(), " holds no class folders; needed are ",
               split.string(), "/<class>/*.{png,jpg,jpeg,bmp}");
  return names;
}

void check_same_classes(const fs::path& train, const std::vector<std::string>& classes, const fs::path& other) {
  const auto check = [](const fs::path& here, const auto& names, const fs::path& there, const auto& others) {
    for (const std::string& name : names)
      ASHLAR_CHECK(std::ranges::binary_search(others, name), kWhat, ": ", (here / name).string(),
                   " has no counterpart: class '", name, "' is missing in ", there.string(), "; both need the same classes");
  };
  const std::vector<std::string> its = class_folders(other);
  check(train, classes, other, its);
  check(other, its, train, classes);
}

// The folder of the validation images; an empty path if there is none.
fs::path validation_folder(const fs::path& folder) {
  fs::path found;
  for (const char* name : {"val", "valid", "validation"}) {
    if (!is_folder(folder / name)) continue;
    ASHLAR_CHECK(found.empty(), kWhat, ": ", folder.string(), " holds both ", found.filename().string(), "/ and ", name,
                 "/; leave one of them there");
    found = folder / name;
  }
  return found;
}

// What lies in class folders and is no image.
struct PassedOver {
  int files = 0, folders = 0;

  std::string text() const {
    if (files + folders == 0) return "";
    return concat("; passed over there: ", files, files == 1 ? " file that is" : " files that are", " no png, jpg or bmp, ", folders,
                  folders == 1 ? " folder" : " folders");
  }
};

ImageSplit read_split(const fs::path& split, const std::vector<std::string>& classes, Dim side, PassedOver& others) {
  std::vector<fs::path> files;
  std::vector<std::int32_t> labels;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const std::size_t before = files.size();
    const int folders_before = others.folders;
    for (const fs::path& entry : sorted_entries(split / classes[c], kWhat)) {
      if (is_folder(entry)) ++others.folders;
      else if (is_image(entry)) files.push_back(entry);
      else ++others.files;
    }
    ASHLAR_CHECK(files.size() > before, kWhat, ": the class folder ", (split / classes[c]).string(),
                 " holds no images (*.png, *.jpg, *.jpeg, *.bmp)", others.folders == folders_before ? "" :
                 ", only folders; what lies in them is not read: put it into the class folder");
    labels.resize(files.size(), static_cast<std::int32_t>(c));
  }
  return {read_images(files, side), Array::from(labels, {static_cast<Dim>(files.size())})};
}

}  // namespace

Array read_images(const std::vector<fs::path>& files, Dim side) {
  const auto read = [side](const fs::path& file) {
    const Array image = decode_image(file);
    return side == 0 ? image : resize_and_crop(image, side);
  };
  const Array first = read(files[0]);
  const auto count = static_cast<Dim>(files.size());
  Array images = Array::empty({count, 3, first.size(1), first.size(2)}, DType::u8);
  auto* pixels = images.data<std::uint8_t>();
  constexpr Dim kGrain = 16;  // files a thread must have to be worth starting
  parallel_for(count, kGrain, [&](Dim begin, Dim end) {
    for (Dim i = begin; i < end; ++i) {
      const fs::path& file = files[static_cast<std::size_t>(i)];
      const Array image = read(file);
      ASHLAR_CHECK(image.shape() == first.shape(), kWhat, ": ", file.string(), " is ", image.size(2), "x",
                   image.size(1), " pixels, but ", files[0].string(), " is ", first.size(2), "x",
                   first.size(1), kOneSize);
      std::memcpy(pixels + i * first.numel(), image.data<std::uint8_t>(),
                  static_cast<std::size_t>(first.numel()));
    }
  });
  return images;
}

bool holds_splits(const fs::path& folder) { return is_folder(folder / "train") || is_folder(folder / "test"); }

bool holds_classes(const fs::path& folder) {
  const auto holds_images = [](const fs::path& entry) {
    std::error_code failure;  // closed folders hold none
    return std::ranges::any_of(fs::directory_iterator(entry, failure), is_image);
  };
  return std::ranges::count_if(sorted_entries(folder, kWhat), holds_images) >= 2;
}

ImageDataset load_class_folders(const fs::path& folder, Dim side) {
  ImageDataset data;
  fs::path train = folder, valid, test;  // empty if there is none
  if (holds_splits(folder)) {
    train = folder / "train";
    valid = validation_folder(folder);
    if (is_folder(folder / "test")) test = folder / "test";
  }
  data.class_names = class_folders(train);
  for (const fs::path& other : {valid, test})
    if (!other.empty()) check_same_classes(train, data.class_names, other);
  PassedOver passed_over;
  data.train = read_split(train, data.class_names, side, passed_over);
  const Shape shape = data.train.images.shape();
  const auto read_other = [&](const fs::path& path) {
    if (path.empty()) return ImageSplit();
    ImageSplit split = read_split(path, data.class_names, side, passed_over);
    const Shape its = split.images.shape();
    ASHLAR_CHECK(its[2] == shape[2] && its[3] == shape[3], kWhat, ": the images of ", path.string(), " are ", its[3], "x",
                 its[2], " pixels, those of ", train.string(), " ", shape[3], "x", shape[2], kOneSize);
    return split;
  };
  data.valid = read_other(valid);
  data.test = read_other(test);
  data.description = concat(data.class_names.size(), " class folders of ", shape[3], "x", shape[2], " images in ",
                            folder.string(), passed_over.text());
  return data;
}

}  // namespace ashlar::data
