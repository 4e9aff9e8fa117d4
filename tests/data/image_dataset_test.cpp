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
  const std::string name = GENERATE("val", "valid", "validation");
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
  REQUIRE(contains(error(), concat("holds both val/ and ", name == "val" ? "valid" : name, "/; leave one of them there")));
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
  SECTION("class with folders of images") {
    write_image(folder.path() / "train/bee/more/x.png", 5, 3, 1);
    fs::create_directory(folder.path() / "test/bee");
    REQUIRE(contains(error(), "train/bee holds no images (*.png, *.jpg, *.jpeg, *.bmp), only folders; what lies in them is not read"));
  }
  SECTION("no class folders") {
    fs::remove_all(folder.path() / "train");
    REQUIRE(contains(error(), (folder.path() / "train").string() + " does not exist; needed are train/<class>/, and test/<class>/"));
    fs::create_directories(folder.path() / "train");
    REQUIRE(contains(error(), "holds no class folders"));
  }
}

TEST_CASE("class_folders_alone_are_for_training", "[data]") {
  TemporaryFolder folder;
  write_class_folders(folder.path());
  fs::remove_all(folder.path() / "test");
  const fs::path given = GENERATE(".", "train");  // without the other splits, and without a folder for the one
  const ImageDataset data = load_images(folder.path() / given);
  REQUIRE(data.class_names == std::vector<std::string>{"ant", "zebra"});
  REQUIRE(data.train.labels.to_vector<std::int32_t>() == std::vector<std::int32_t>{0, 0, 0, 1, 1});
  REQUIRE((data.test.size() == 0 && data.valid.size() == 0));

  // One class is none to tell from another, and is more likely a folder of something else.
  fs::remove_all(folder.path() / "train/ant");
  REQUIRE(contains(error_of([&] { load_images(folder.path() / "train"); }), "nothing recognised"));
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
