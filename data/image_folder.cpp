// train/<class>/<image> and test/<class>/<image>.
#include <algorithm>
#include <cctype>
#include <cstring>

#include "core/parallel.h"
#include "data/folder.h"
#include "data/image_formats.h"
#include "data/resize.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kWhat = "image folder";
constexpr const char* kOneSize = "; all must have one size, or be given one with --image N";

bool is_image(const fs::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".bmp";
}

// The subfolders in alphabetical order.
std::vector<std::string> class_folders(const fs::path& split) {
  ASHLAR_CHECK(fs::is_directory(split), kWhat, ": the folder ", split.string(),
               " does not exist; needed are train/<class>/ and test/<class>/");
  std::vector<std::string> names;
  for (const fs::path& entry : sorted_entries(split, kWhat))
    if (fs::is_directory(entry)) names.push_back(entry.filename().string());
  ASHLAR_CHECK(!names.empty(), kWhat, ": ", split.string(), " holds no class folders; needed are ",
               split.string(), "/<class>/*.{png,jpg,jpeg,bmp}");
  return names;
}

void check_same_classes(const fs::path& folder, const std::vector<std::string>& train,
                        const std::vector<std::string>& test) {
  const auto check = [&](const char* here, const char* there, const auto& names, const auto& others) {
    for (const std::string& name : names)
      ASHLAR_CHECK(std::ranges::binary_search(others, name), kWhat, ": ", (folder / here / name).string(),
                   " has no counterpart: class '", name, "' is missing in ", (folder / there).string(),
                   "; both need the same classes");
  };
  check("train", "test", train, test);
  check("test", "train", test, train);
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
    for (const fs::path& entry : sorted_entries(split / classes[c], kWhat)) {
      if (fs::is_directory(entry)) ++others.folders;
      else if (is_image(entry)) files.push_back(entry);
      else ++others.files;
    }
    ASHLAR_CHECK(files.size() > before, kWhat, ": the class folder ", (split / classes[c]).string(),
                 " holds no images (*.png, *.jpg, *.jpeg, *.bmp)");
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

bool holds_class_folders(const fs::path& folder) {
  std::error_code failure;
  return fs::is_directory(folder / "train", failure) || fs::is_directory(folder / "test", failure);
}

ImageDataset load_class_folders(const fs::path& folder, Dim side) {
  ImageDataset data;
  data.class_names = class_folders(folder / "train");
  check_same_classes(folder, data.class_names, class_folders(folder / "test"));
  PassedOver others;
  data.train = read_split(folder / "train", data.class_names, side, others);
  data.test = read_split(folder / "test", data.class_names, side, others);
  const Shape train = data.train.images.shape(), test = data.test.images.shape();
  ASHLAR_CHECK(train[2] == test[2] && train[3] == test[3], kWhat, ": the images of ",
               (folder / "test").string(), " are ", test[3], "x", test[2], " pixels, those of ",
               (folder / "train").string(), " ", train[3], "x", train[2], kOneSize);
  data.description = concat(data.class_names.size(), " class folders of ", train[3], "x", train[2],
                            " images in ", folder.string(), others.text());
  return data;
}

}  // namespace ashlar::data
