#include "data/image_dataset.h"

#include <map>
#include <set>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include "core/files.h"
#include "core/parallel.h"
#include "core/random.h"
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

// (H, W, 3) bytes of a random image.
std::vector<std::uint8_t> random_pixels(int width, int height, std::uint64_t seed) {
  const Random random(seed);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(random.below(i, 256));
  return pixels;
}

void write_image(const fs::path& file, int width, int height, std::uint64_t seed) {
  fs::create_directories(file.parent_path());
  const auto pixels = random_pixels(width, height, seed);
  const std::string name = file.string(), ending = file.extension().string();
  int written = 0;
  if (ending == ".png" || ending == ".PNG")
    written = stbi_write_png(name.c_str(), width, height, 3, pixels.data(), 0);
  else if (ending == ".bmp")
    written = stbi_write_bmp(name.c_str(), width, height, 3, pixels.data());
  else
    written = stbi_write_jpg(name.c_str(), width, height, 3, pixels.data(), 90);
  REQUIRE(written != 0);
}

void write_class_folders(const fs::path& folder) {
  write_image(folder / "train/zebra/b.png", 5, 3, 1);
  write_image(folder / "train/zebra/a.bmp", 5, 3, 2);
  write_image(folder / "train/ant/x.jpg", 5, 3, 3);
  write_image(folder / "train/ant/y.PNG", 5, 3, 4);
  write_image(folder / "train/ant/z.jpeg", 5, 3, 5);
  write_image(folder / "test/ant/x.png", 5, 3, 6);
  write_image(folder / "test/zebra/x.png", 5, 3, 7);
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

TEST_CASE("class_folders_are_read_in_alphabetical_order", "[data]") {
  TemporaryFolder folder;
  write_class_folders(folder.path());
  for (const char* hidden : {"train/ant/.thumbs.db", "train/ant/._a.png", "train/.cache/x.png", ".git/x"}) folder.write(hidden, "x");
  REQUIRE(!contains(load_images(folder.path()).description, "passed over"));
  folder.write("train/ant/thumbs.db", "not an image");
  folder.write("test/zebra/more/x.png", "an image that nobody looks at");
  const ImageDataset data = load_images(folder.path());
  REQUIRE(contains(data.description, "; passed over there: 1 file that is no png, jpg or bmp, 1 folder"));
  REQUIRE(data.class_names == std::vector<std::string>{"ant", "zebra"});
  REQUIRE(data.train.images.shape() == Shape({5, 3, 3, 5}));
  REQUIRE(data.train.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>{0, 0, 0, 1, 1});
  REQUIRE(data.test.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>{0, 1});
  // Rows 1 (y.PNG), 3 (a.bmp) and 4 (b.png) are stored without loss.
  for (const auto& [row, seed] : std::map<Dim, std::uint64_t>{{1, 4}, {3, 2}, {4, 1}}) {
    const auto pixels = random_pixels(5, 3, seed);
    const auto* image = data.train.images.data<std::uint8_t>() + row * 3 * 15;
    bool same = true;
    for (std::size_t pixel = 0; pixel < 15; ++pixel)
      for (std::size_t c = 0; c < 3; ++c) same = same && image[c * 15 + pixel] == pixels[pixel * 3 + c];
    REQUIRE(same);
  }
}

TEST_CASE("validation_images_have_a_folder_of_their_own", "[data]") {
  TemporaryFolder folder;
  write_class_folders(folder.path());
  const auto error = [&] { return error_of([&] { load_images(folder.path()); }); };
  const std::string name = GENERATE("val", "valid");
  fs::copy(folder.path() / "test", folder.path() / name, fs::copy_options::recursive);
  ImageDataset data = load_images(folder.path());
  REQUIRE(data.train.size() == 5);
  REQUIRE(data.test.size() == 2);
  REQUIRE(data.valid.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>{0, 1});
  REQUIRE(contains(error_of([&] { hold_out(data, 0.5, 1); }), "have validation images of their own; leave it out"));

  fs::remove_all(folder.path() / "test");
  data = load_images(folder.path());
  REQUIRE(data.test.size() == 0);
  REQUIRE(data.valid.images.shape() == Shape({2, 3, 3, 5}));

  fs::create_directory(folder.path() / name / "yak");
  REQUIRE(contains(error(), "class 'yak' is missing in " + (folder.path() / "train").string()));
  fs::remove(folder.path() / name / "yak");
  fs::create_directory(folder.path() / (name == "val" ? "valid" : "val"));
  REQUIRE(contains(error(), "holds both val/ and valid/; leave one of them there"));
}

TEST_CASE("damaged_class_folders_are_reported", "[data]") {
  TemporaryFolder folder;
  write_class_folders(folder.path());
  const auto error = [&] { return error_of([&] { load_images(folder.path()); }); };
  REQUIRE(error().empty());

  SECTION("image of another size") {
    write_image(folder.path() / "train/zebra/c.png", 4, 3, 1);
    REQUIRE(contains(error(), (folder.path() / "train/zebra/c.png").string() + " is 4x3"));
    REQUIRE(contains(error(), "is 5x3"));
  }
  SECTION("test images of another size") {
    write_image(folder.path() / "test/ant/x.png", 4, 4, 1);
    write_image(folder.path() / "test/zebra/x.png", 4, 4, 1);
    REQUIRE(contains(error(), "4x4"));
  }
  SECTION("undecodable image") {
    const fs::path file = folder.write("test/ant/broken.jpg", "this is no image");
    REQUIRE(contains(error(), "cannot decode " + file.string()));
  }
  SECTION("loop of links") {
    const fs::path loop = folder.path() / "train/ant/loop.png";
    fs::create_symlink("loop.png", loop);
    REQUIRE(contains(error(), "cannot read " + loop.string()));
  }
  SECTION("image that ends too early") {
    const fs::path file = folder.path() / "train/zebra/b.png";
    std::string png = read_file(file);
    png.resize(png.size() - 12);  // the chunk IEND
    folder.write("train/zebra/b.png", png);
    const std::string text = error();
    REQUIRE((contains(text, "cannot decode " + file.string()) && !contains(text, "bytes): ;")));
  }
  SECTION("empty image file") {
    const fs::path file = folder.write("train/ant/w.png", "");
    REQUIRE(contains(error(), "cannot decode " + file.string()));
  }
  SECTION("bitmap that is cut off") {
    const fs::path file = folder.path() / "train/zebra/a.bmp";
    const std::uintmax_t size = fs::file_size(file);
    fs::resize_file(file, size - 1);  // the padding of the last row
    REQUIRE(error().empty());
    for (const std::uintmax_t left : {size - 2, std::uintmax_t{60}}) {
      fs::resize_file(file, left);
      REQUIRE(contains(error(), concat("cannot decode ", file.string(), ": it is cut off, with ", left, " of at least ",
                                       size - 1, " bytes")));
    }
  }
  SECTION("JPEG that is cut off") {
    const std::string whole = read_file(folder.path() / "train/ant/x.jpg");
    const auto file = [&](const std::string& bytes) { return folder.write("train/ant/x.jpg", bytes); };
    for (const std::size_t left : {whole.size() - 1, whole.size() - 2, whole.size() - 10, whole.size() / 2}) {
      const fs::path path = file(whole.substr(0, left));
      REQUIRE(contains(error(), concat("cannot decode ", path.string(), ": it is cut off, a JPEG of ", left, " bytes")));
    }
    // A thumbnail in a segment at the beginning, and bytes that look like another scan behind the end.
    const std::size_t length = whole.size() + 2;
    const std::string segment{'\xff', '\xe1', static_cast<char>(length >> 8), static_cast<char>(length & 0xff)};
    const std::string nested = whole.substr(0, 2) + segment + whole + whole.substr(2);
    file(nested + "\xff\xda");
    REQUIRE(error().empty());
    for (const std::size_t left : {nested.size() - 2, whole.size() + 20}) {
      file(nested.substr(0, left));
      REQUIRE(contains(error(), "it is cut off"));
    }
  }
  SECTION("class without images") {
    folder.write("train/bee/readme.txt", "");
    folder.write("test/bee/readme.txt", "");
    REQUIRE(contains(error(), (folder.path() / "train/bee").string() + " holds no images"));
  }
  SECTION("class only in train") {
    write_image(folder.path() / "train/bee/x.png", 5, 3, 1);
    REQUIRE(contains(error(), "class 'bee' is missing in " + (folder.path() / "test").string()));
  }
  SECTION("class only in test") {
    write_image(folder.path() / "test/bee/x.png", 5, 3, 1);
    REQUIRE(contains(error(), "class 'bee' is missing in " + (folder.path() / "train").string()));
  }
  SECTION("no test folder") {
    fs::remove_all(folder.path() / "test");
    REQUIRE(contains(error(), (folder.path() / "test").string() + " does not exist"));
  }
  SECTION("no class folders") {
    fs::remove_all(folder.path() / "train");
    REQUIRE(contains(error(), (folder.path() / "train").string() + " does not exist; needed are train/<class>/ and test/<class>/"));
    fs::create_directories(folder.path() / "train");
    REQUIRE(contains(error(), "holds no class folders"));
  }
}

TEST_CASE("a_folder_without_images_says_what_was_looked_for", "[data]") {
  TemporaryFolder folder;
  REQUIRE(contains(error_of([&] { load_images(folder.path() / "none"); }), "does not exist"));
  REQUIRE(contains(error_of([&] { load_images(folder.path()); }), "is empty"));
  const fs::path file = folder.write("cifar10-jpeg.tar.gz", "packed");
  REQUIRE(contains(error_of([&] { load_images(file); }), "is not a folder; give the one"));
  const std::string error = error_of([&] { load_images(folder.path()); });
  REQUIRE(contains(error, "data_batch_1.bin"));
  REQUIRE(contains(error, "train/<class>"));
  REQUIRE(contains(error, "unpack cifar10-jpeg.tar.gz first"));
}

TEST_CASE("procedural_images_are_reproducible_balanced_and_different", "[data]") {
  const ImageDataset data = procedural_images(7, 203, 51);
  REQUIRE(data.train.images.shape() == Shape({203, 3, 32, 32}));
  REQUIRE(data.test.size() == 51);
  REQUIRE(data.class_names.size() == 10);
  for (Dim i = 0; i < 203; ++i) REQUIRE(data.train.labels.data<std::int32_t>()[i] == i % 10);

  const int threads = num_threads();
  set_num_threads(1);
  const ImageDataset again = procedural_images(7, 60, 51);
  set_num_threads(threads);
  const auto image = [](const ImageSplit& split, Dim i) {
    const auto pixels = split.images.slice(0, i, i + 1).to_vector<std::uint8_t>();
    return std::string(pixels.begin(), pixels.end());
  };
  REQUIRE(image(again.train, 59) == image(data.train, 59));
  REQUIRE(image(again.test, 50) == image(data.test, 50));
  REQUIRE(image(procedural_images(8, 10, 10).train, 0) != image(data.train, 0));
  std::set<std::string> distinct;
  for (Dim i = 0; i < 203; ++i) distinct.insert(image(data.train, i));
  for (Dim i = 0; i < 51; ++i) distinct.insert(image(data.test, i));
  REQUIRE(distinct.size() == 203 + 51);
  REQUIRE(contains(error_of([] { procedural_images(7, 9, 51); }), "need at least 10 images a split, got 9"));
}

}  // namespace ashlar::data
