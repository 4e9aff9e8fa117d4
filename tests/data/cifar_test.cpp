// The binary releases of CIFAR.
#include "data/image_dataset.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {
namespace fs = std::filesystem;

// Records of a binary release: label bytes, then 3072 pixel bytes that depend on record and position.
std::string records(int count, int label_bytes, int classes, int salt) {
  std::string bytes;
  for (int r = 0; r < count; ++r) {
    for (int l = 0; l + 1 < label_bytes; ++l)
      bytes += static_cast<char>(19);  // a coarse label, to be ignored
    bytes += static_cast<char>((r * 3 + salt) % classes);
    for (int p = 0; p < 3072; ++p) bytes += static_cast<char>((r * 31 + p * 7 + salt) % 256);
  }
  return bytes;
}

void write_cifar10(const TemporaryFolder& folder, const std::string& below) {
  for (int f = 1; f <= 5; ++f)
    folder.write(below + "data_batch_" + std::to_string(f) + ".bin", records(f, 1, 10, f));
  folder.write(below + "test_batch.bin", records(4, 1, 10, 9));
}

}  // namespace

TEST_CASE("cifar10_reads_the_binary_release", "[data]") {
  TemporaryFolder folder;
  write_cifar10(folder, "");
  const ImageDataset data = load_images(folder.path());
  REQUIRE(data.train.images.shape() == Shape({1 + 2 + 3 + 4 + 5, 3, 32, 32}));
  REQUIRE(data.test.size() == 4);
  REQUIRE(data.class_names.size() == 10);
  REQUIRE(data.class_names[3] == "cat");
  // Record 1 of file 3 is the fifth of the training split.
  const Dim row = 1 + 2 + 1;
  const int record = 1, salt = 3;
  REQUIRE(data.train.labels.data<std::int32_t>()[row] == (record * 3 + salt) % 10);
  bool same = true;
  for (int p = 0; p < 3072; ++p)
    same =
        same && data.train.images.data<std::uint8_t>()[row * 3072 + p] == (record * 31 + p * 7 + salt) % 256;
  REQUIRE(same);
}

TEST_CASE("cifar10_is_found_one_folder_deeper", "[data]") {
  TemporaryFolder folder;
  write_cifar10(folder, "cifar-10-batches-bin/");
  folder.write("notes/readme.txt", "nothing");
  REQUIRE(load_images(folder.path()).train.size() == 15);
  write_cifar10(folder, "copy/");
  const std::string error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "cifar-10-batches-bin"));
  REQUIRE(contains(error, "copy"));
}

TEST_CASE("cifar100_reads_fine_labels_and_names", "[data]") {
  TemporaryFolder folder;
  folder.write("train.bin", records(7, 2, 100, 40));
  folder.write("test.bin", records(2, 2, 100, 60));
  ImageDataset data = load_images(folder.path());
  REQUIRE(data.train.size() == 7);
  REQUIRE(data.train.labels.data<std::int32_t>()[2] == 46);
  REQUIRE(data.train.images.data<std::uint8_t>()[0] == 40);
  REQUIRE(data.class_names.size() == 100);
  std::string names;
  for (int c = 0; c < 100; ++c) names += "name" + std::to_string(c) + "\n";
  folder.write("fine_label_names.txt", names);
  REQUIRE(load_images(folder.path()).class_names[42] == "name42");
  folder.write("fine_label_names.txt", names + "one more\n");
  REQUIRE(contains(error_of([&] { load_images(folder.path()); }), "names 102 classes instead of 100"));
}

TEST_CASE("a_damaged_binary_release_is_reported_with_its_byte_counts", "[data]") {
  TemporaryFolder folder;
  write_cifar10(folder, "");
  const fs::path file = folder.path() / "data_batch_4.bin";
  fs::resize_file(file, 3 * 3073 + 100);
  std::string error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, file.string()));
  REQUIRE(contains(error, "9319 bytes"));
  REQUIRE(contains(error, "multiple of 3073"));
  REQUIRE(contains(error, "3 whole records and 100 bytes left over"));

  fs::resize_file(file, 0);
  error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "0 bytes"));

  fs::remove(file);
  error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "cannot read " + file.string()));

  folder.write("data_batch_4.bin", records(2, 1, 10, 0) + records(1, 1, 256, 77));
  error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "record 2 has label 77"));
}

}  // namespace ashlar::data
