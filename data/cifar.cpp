// The binary releases of CIFAR-10 and CIFAR-100 (Krizhevsky 2009; the format:
// www.cs.toronto.edu/~kriz/cifar.html). A record is the label bytes — CIFAR-10: the class, CIFAR-100: coarse
// then fine class — and 3 x 32 x 32 pixel bytes.
#include <cstring>
#include <sstream>

#include "core/files.h"
#include "data/image_formats.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr Dim kSide = 32;
constexpr Dim kPixels = 3 * kSide * kSide;

struct Format {
  const char* name;  // "cifar10": of data/download.sh
  Dim label_bytes;   // the last of them is the label
  Dim classes;
  Dim official_records;  // in a training file
  Dim record() const { return label_bytes + kPixels; }
};
constexpr Format kCifar10{"cifar10", 1, 10, 10000};
constexpr Format kCifar100{"cifar100", 2, 100, 50000};

// Reads files of records one after the other.
ImageSplit read_records(const Format& format, const fs::path& folder, const std::vector<std::string>& files) {
  std::vector<std::string> contents;
  Dim records = 0;
  for (const std::string& file : files) {
    contents.push_back(read_file(folder / file));
    const auto bytes = static_cast<Dim>(contents.back().size());
    ASHLAR_CHECK(bytes > 0 && bytes % format.record() == 0, format.name, ": ", (folder / file).string(),
                 " has ", bytes, " bytes, not a multiple of ", format.record(), " (", format.label_bytes,
                 " label and ", kPixels, " pixel bytes a record): ", bytes / format.record(),
                 " whole records and ", bytes % format.record(),
                 " bytes left over, where the official training files have ", format.official_records,
                 " records; fetch it again with data/download.sh ", format.name);
    records += bytes / format.record();
  }
  ImageSplit split{Array::empty({records, 3, kSide, kSide}, DType::u8), Array::empty({records}, DType::i32)};
  auto* pixels = split.images.data<std::uint8_t>();
  auto* label = split.labels.data<std::int32_t>();
  for (std::size_t f = 0; f < files.size(); ++f) {
    const auto count = static_cast<Dim>(contents[f].size()) / format.record();
    for (Dim r = 0; r < count; ++r, pixels += kPixels, ++label) {
      const char* record = contents[f].data() + r * format.record();
      *label = static_cast<unsigned char>(record[format.label_bytes - 1]);
      ASHLAR_CHECK(*label < format.classes, format.name, ": ", (folder / files[f]).string(), ": record ", r,
                   " has label ", *label, ", but there are only ", format.classes, " classes");
      std::memcpy(pixels, record + format.label_bytes, static_cast<std::size_t>(kPixels));
    }
    contents[f] = {};
  }
  return split;
}

// One name a line in the file that the releases bring along; without it the given names.
std::vector<std::string> class_names(const Format& format, const fs::path& file,
                                     std::vector<std::string> fallback) {
  std::error_code failure;
  if (!fs::exists(file, failure)) return fallback;
  std::vector<std::string> names;
  std::istringstream text(read_file(file));
  for (std::string name; text >> name;) names.push_back(name);
  ASHLAR_CHECK(static_cast<Dim>(names.size()) == format.classes, format.name, ": ", file.string(), " names ",
               names.size(), " classes instead of ", format.classes);
  return names;
}

bool any_exists(const fs::path& folder, const std::vector<std::string>& files) {
  std::error_code failure;
  for (const std::string& file : files)
    if (fs::is_regular_file(folder / file, failure)) return true;
  return false;
}

const std::vector<std::string> kCifar10Train{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                             "data_batch_4.bin", "data_batch_5.bin"};

}  // namespace

bool holds_cifar10(const fs::path& folder) {
  return any_exists(folder, kCifar10Train) || any_exists(folder, {"test_batch.bin"});
}

ImageDataset load_cifar10(const fs::path& folder) {
  ImageDataset data{read_records(kCifar10, folder, kCifar10Train),
                    read_records(kCifar10, folder, {"test_batch.bin"}),
                    {},
                    "CIFAR-10, binary release, in " + folder.string()};
  data.class_names =
      class_names(kCifar10, folder / "batches.meta.txt",
                  {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"});
  return data;
}

bool holds_cifar100(const fs::path& folder) { return any_exists(folder, {"train.bin", "test.bin"}); }

ImageDataset load_cifar100(const fs::path& folder) {
  ImageDataset data{read_records(kCifar100, folder, {"train.bin"}),
                    read_records(kCifar100, folder, {"test.bin"}),
                    {},
                    "CIFAR-100, binary release, in " + folder.string()};
  std::vector<std::string> numbered;
  for (Dim c = 0; c < kCifar100.classes; ++c) numbered.push_back("class_" + std::to_string(c));
  data.class_names = class_names(kCifar100, folder / "fine_label_names.txt", numbered);
  return data;
}

}  // namespace ashlar::data
