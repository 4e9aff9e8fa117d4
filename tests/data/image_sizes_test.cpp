// Data sets whose images are made of one size when they are read.
#include "core/random.h"
#include "data/image_dataset.h"
#include "data/image_formats.h"
#include "data/resize.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

void write_bmp(const TemporaryFolder& folder, const std::string& name, int width, int height) {
  const int row = (3 * width + 3) / 4 * 4;
  std::string bytes = "BM";
  const auto number = [&](int value, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  };
  for (const int value : {54 + row * height, 0, 54, 40, width, height}) number(value, 4);
  number(1, 2);
  number(24, 2);
  for (const int value : {0, row * height, 0, 0, 0, 0}) number(value, 4);
  const Random random(key_of(1, name));
  for (int i = 0; i < row * height; ++i) bytes += static_cast<char>(random.below(static_cast<std::uint64_t>(i), 256));
  folder.write(name, bytes);
}

std::vector<std::uint8_t> pixels_of(const Array& images) { return images.to_vector<std::uint8_t>(); }

}  // namespace

TEST_CASE("class_folders_of_differing_sizes_are_read_at_one", "[data]") {
  const TemporaryFolder folder;
  constexpr int kFiles = 40;  // enough for several threads
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = concat("train/ant/", 100 + i, ".bmp");
    write_bmp(folder, name, 3 + i % 7, 2 + i % 11);
    files.push_back(folder / name);
  }
  write_bmp(folder, "test/ant/x.bmp", 30, 20);
  const ImageDataset data = load_images(folder.path(), 6);
  REQUIRE(data.train.images.shape() == Shape({kFiles, 3, 6, 6}));
  REQUIRE(data.test.images.shape() == Shape({1, 3, 6, 6}));
  REQUIRE(data.train.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>(kFiles, 0));
  REQUIRE(contains(data.description, "1 class folders of 6x6 images"));
  for (int i = 0; i < kFiles; ++i) {
    CAPTURE(i);
    const Array image = resize_and_crop(decode_image(files[static_cast<std::size_t>(i)]), 6);
    REQUIRE(pixels_of(data.train.images.slice(0, i, i + 1)) == pixels_of(image));
  }
  const std::string error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "; all must have one size, or be given one with --image N"));
}

TEST_CASE("a_bitmap_of_os2_with_its_short_header_is_read", "[data]") {
  const TemporaryFolder folder;
  std::string file = "BM";
  for (const int value : {42, 0, 26, 12}) {  // size, nothing, where the pixels begin, size of the header
    for (int i = 0; i < 4; ++i) file += static_cast<char>(value >> (8 * i));
  }
  for (const char value : std::initializer_list<char>{2, 2, 1, 24}) file += {value, '\0'};  // width, height, planes, bits
  // Blue, green, red; the lower row first, each of whole words.
  file += "\x11\x12\x13\x14\x15\x16__" "\x01\x02\x03\x04\x05\x06__";
  const Array image = decode_image(folder.write("x.bmp", file));
  REQUIRE(image.shape() == Shape({3, 2, 2}));
  REQUIRE(pixels_of(image) == std::vector<std::uint8_t>{3, 6, 0x13, 0x16, 2, 5, 0x12, 0x15, 1, 4, 0x11, 0x14});
  const auto cut = folder.write("x.bmp", file.substr(0, 38));
  REQUIRE(contains(error_of([&] { decode_image(cut); }), "it is cut off, with 38 of at least 40 bytes"));
}

TEST_CASE("splits_of_two_sizes_are_read_at_one", "[data]") {
  const TemporaryFolder folder;
  write_bmp(folder, "train/ant/x.bmp", 5, 5);
  write_bmp(folder, "test/ant/x.bmp", 4, 4);
  REQUIRE(load_images(folder.path(), 5).test.images.shape() == Shape({1, 3, 5, 5}));
  REQUIRE(contains(error_of([&] { load_images(folder.path()); }), "; all must have one size, or be given one with --image N"));
}

TEST_CASE("images_of_a_binary_release_and_made_up_ones_are_resized_too", "[data]") {
  const TemporaryFolder folder;
  std::string records;
  for (int i = 0; i < 2 * 3074; ++i) records += static_cast<char>(i % 3074 < 2 ? 7 : i * 11 % 251);
  folder.write("train.bin", records);
  folder.write("test.bin", records.substr(0, 3074));
  const ImageDataset small = load_images(folder.path(), 8), whole = load_images(folder.path());
  REQUIRE(small.train.images.shape() == Shape({2, 3, 8, 8}));
  REQUIRE(small.test.images.shape() == Shape({1, 3, 8, 8}));
  REQUIRE(small.train.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>{7, 7});
  REQUIRE(pixels_of(small.train.images.select(0, 1)) == pixels_of(resize_and_crop(whole.train.images.select(0, 1), 8)));
  REQUIRE(whole.description + ", resized to 8x8" == small.description);

  const ImageDataset drawn = procedural_images(1, 20, 10), larger = resized(drawn, 40);
  REQUIRE(larger.train.images.shape() == Shape({20, 3, 40, 40}));
  REQUIRE(pixels_of(larger.test.images.select(0, 9)) == pixels_of(resize_and_crop(drawn.test.images.select(0, 9), 40)));
  REQUIRE(pixels_of(resized(drawn, 0).train.images) == pixels_of(drawn.train.images));
}

}  // namespace ashlar::data
