// The safetensors format: what is written is read back bit for bit, and no file, however hostile, is believed.
#include "core/safetensors.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/random.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array random_array(const Shape& shape, DType dtype, std::uint64_t key) {
  Array result = Array::empty(shape, dtype);
  const Random random(key);
  dispatch_all(dtype, [&]<class T>() {
    for (Dim i = 0; i < result.numel(); ++i) {
      result.data<T>()[i] = convert<T>(random.uniform(static_cast<std::uint64_t>(i)) * 200.0);
    }
  });
  return result;
}

// Thousands of damaged files are made here: without waiting for the disk, as write_file would.
void put(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A file with this header and `values` bytes after it; `length` replaces the true length of the header.
std::filesystem::path craft(const TemporaryFolder& folder, const std::string& header, std::size_t values,
                            std::uint64_t length) {
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  put(folder / "crafted.safetensors", text + header + std::string(values, '\1'));
  return folder / "crafted.safetensors";
}

std::string error_for(const std::string& header, std::size_t values) {
  const TemporaryFolder folder;
  return error_of([&] { SafetensorsFile(craft(folder, header, values, header.size())); });
}

}  // namespace

TEST_CASE("every dtype and shape survives a round trip") {
  const TemporaryFolder folder;
  NamedArrays tensors;
  std::uint64_t key = 0;
  for (const DType dtype : {DType::u8, DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64}) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{3, 5}, Shape{2, 0, 3}, Shape{1, 2, 3, 1, 2, 2}}) {
      tensors.emplace_back(concat("blocks.0.", name_of(dtype), ".", shape), random_array(shape, dtype, key++));
    }
  }
  const Metadata metadata{{"format", "pt"}, {"step", "12"}, {"unicode", "Größe \"quoted\"\n"}};
  write_safetensors(folder / "all.safetensors", tensors, metadata);

  const SafetensorsFile file(folder / "all.safetensors");
  CHECK(file.metadata() == metadata);
  CHECK(file.entries().size() == tensors.size());
  for (const auto& [name, array] : tensors) {
    INFO(name);
    CHECK(file.contains(name));
    CHECK(bitwise_equal(file.read(name), array));
    CHECK(file.entries().at(name).begin % size_of(array.dtype()) == 0);
  }
}

TEST_CASE("values that are not numbers keep their bits") {
  const TemporaryFolder folder;
  const std::vector<float> values{std::numeric_limits<float>::quiet_NaN(), -0.0f,
                                  std::numeric_limits<float>::infinity(), 1e-45f};
  const Array array = Array::from(values, {4});
  write_safetensors(folder / "f", {{"x", array}});
  CHECK(bitwise_equal(SafetensorsFile(folder / "f").read("x"), array));
}

TEST_CASE("strided arrays are written in row-major order") {
  const TemporaryFolder folder;
  const Array whole = random_array({5, 7}, DType::f32, 1);
  const Array view = whole.transpose(0, 1).slice(0, 2, 6);
  write_safetensors(folder / "f", {{"x", view}, {"y", whole.select(1, 3)}});
  const SafetensorsFile file(folder / "f");
  CHECK(file.read("x").to_vector<float>() == view.to_vector<float>());
  CHECK(file.read("y").to_vector<float>() == whole.select(1, 3).to_vector<float>());
}

TEST_CASE("the same content gives the same bytes, in whatever order it is given") {
  const TemporaryFolder folder;
  const Array a = random_array({3}, DType::f32, 1), b = random_array({2}, DType::i64, 2);
  write_safetensors(folder / "1", {{"a", a}, {"b", b}});
  write_safetensors(folder / "2", {{"b", b}, {"a", a}});
  CHECK(read_file(folder / "1") == read_file(folder / "2"));
}

TEST_CASE("every tensor lies in the file aligned to its type") {
  const TemporaryFolder folder;
  for (std::string name = "b"; name.size() <= 8; name += 'b') {
    write_safetensors(folder / "a", {{"a", random_array({3}, DType::u8, 1)}, {name, random_array({3}, DType::f64, 2)},
                                     {"c", random_array({3}, DType::bf16, 3)}});
    const SafetensorsFile file(folder / "a");
    CHECK(file.entries().at(name).begin % 8 == 0);
    CHECK(file.entries().at("c").begin % 2 == 0);
  }
}

TEST_CASE("a file without tensors is valid") {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {});
  CHECK(SafetensorsFile(folder / "f").entries().empty());
}

TEST_CASE("names that cannot be written are refused and leave no file") {
  const TemporaryFolder folder;
  const Array a = Array::zeros({1});
  CHECK(contains(error_of([&] { write_safetensors(folder / "f", {{"x", a}, {"x", a}}); }), "'x'"));
  CHECK(contains(error_of([&] { write_safetensors(folder / "f", {{"__metadata__", a}}); }), "__metadata__"));
  CHECK(contains(error_of([&] { write_safetensors(folder / "f", {{"\xff", a}}); }), "UTF-8"));
  CHECK(contains(error_of([&] { write_safetensors(folder / "f", {{"x", Array()}}); }), "undefined"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a file of the reference implementation is read") {
  // safetensors.numpy.save({"w": np.arange(3, dtype=np.float32), "i": np.array([7])}, {"format": "pt"}), 0.4.5
  const TemporaryFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("w":{"dtype":"F32","shape":[3],"data_offsets":[8,20]}}  )";
  std::string text(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(text.data(), &length, 8);
  const std::int64_t i = 7;
  const float w[] = {0, 1, 2};
  text += header + std::string(reinterpret_cast<const char*>(&i), 8) + std::string(reinterpret_cast<const char*>(w), 12);
  write_file(folder / "f", text);
  const SafetensorsFile file(folder / "f");
  CHECK(file.metadata() == Metadata{{"format", "pt"}});
  CHECK(file.read("i").item() == 7);
  CHECK(file.read("w").to_vector<float>() == std::vector<float>{0, 1, 2});
}

TEST_CASE("asking for what is not there names file and tensor") {
  const TemporaryFolder folder;
  write_safetensors(folder / "f.safetensors", {{"x", Array::zeros({1})}});
  const SafetensorsFile file(folder / "f.safetensors");
  const std::string message = error_of([&] { file.read("y"); });
  CHECK(contains(message, "f.safetensors"));
  CHECK(contains(message, "'y'"));
}

TEST_CASE("dtypes that arrays do not have can be listed but not read") {
  const TemporaryFolder folder;
  const std::string header = R"({"mask":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]},)"
                             R"("w":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})";
  const SafetensorsFile file(craft(folder, header, 5, header.size()));
  CHECK(file.read("w").item() == 1);
  const std::string message = error_of([&] { file.read("mask"); });
  CHECK(contains(message, "'mask'"));
  CHECK(contains(message, "BOOL"));
}

TEST_CASE("values of 16 bits in IEEE's format are read as f32, exactly") {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> halves{0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x3555, 0x7e01};
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values{0, -0.0f, 1, -2, 65504, 0x1p-14f, 0x1p-24f, -1023 * 0x1p-24f, infinity, -infinity, 1365 * 0x1p-12f};
  const std::string header = R"({"h":{"dtype":"F16","shape":[12],"data_offsets":[0,24]}})";
  std::string bytes(8 + header.size() + 24, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  std::memcpy(bytes.data() + 8 + header.size(), halves.data(), 24);
  put(folder / "half.safetensors", bytes);
  const SafetensorsFile file(folder / "half.safetensors");
  CHECK(file.dtype("h") == DType::f32);
  const Array read = file.read("h");
  CHECK(bitwise_equal(read.slice(0, 0, 11), Array::from(values, {11})));
  CHECK(std::isnan(read.slice(0, 11, 12).item()));
}

TEST_CASE("every truncation of a file is an error") {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"x", random_array({3, 2}, DType::f32, 1)}, {"y", random_array({3}, DType::u8, 2)}});
  const std::string whole = read_file(folder / "f");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    put(folder / "cut", whole.substr(0, length));
    const std::string message = error_of([&] { SafetensorsFile file(folder / "cut"); });
    INFO("length " << length);
    CHECK(contains(message, "cut"));
  }
  put(folder / "cut", whole + "x");
  CHECK_FALSE(error_of([&] { SafetensorsFile file(folder / "cut"); }).empty());
}

TEST_CASE("every changed byte of the header is an error or still a consistent file") {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"x", random_array({3, 2}, DType::f32, 1)}}, {{"k", "v"}});
  const std::string whole = read_file(folder / "f");
  const std::size_t header_end = whole.size() - 24;
  const Random random(3);
  for (std::size_t trial = 0; trial < 2000; ++trial) {
    std::string damaged = whole;
    damaged[random.below(2 * trial, static_cast<std::uint32_t>(header_end))] =
        static_cast<char>(random.below(2 * trial + 1, 256));
    put(folder / "damaged", damaged);
    error_of([&] {
      const SafetensorsFile file(folder / "damaged");
      for (const auto& [name, entry] : file.entries()) file.read(name);
    });
  }
}

TEST_CASE("hostile headers are refused, naming the tensor") {
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  CHECK(error_for(tensor("\"F32\"", "[2]", "[0,8]"), 8).empty());
  const std::pair<std::string, std::string> faults[] = {
      {tensor("\"F33\"", "[2]", "[0,8]"), "unknown dtype \"F33\""},
      {tensor("32", "[2]", "[0,8]"), "unknown dtype"},
      {tensor("\"F32\"", "2", "[0,8]"), "shape must be a list"},
      {tensor("\"F32\"", "[-2]", "[0,8]"), "not negative"},
      {tensor("\"F32\"", "[2.0]", "[0,8]"), "whole numbers"},
      {tensor("\"F32\"", "[\"2\"]", "[0,8]"), "whole numbers"},
      {tensor("\"F32\"", "[3]", "[0,8]"), "take 12 bytes"},
      {tensor("\"F32\"", "[2]", "[8,0]"), "reach outside"},
      {tensor("\"F32\"", "[2]", "[0,8,8]"), "[begin, end]"},
      {tensor("\"F32\"", "[2]", "[-8,0]"), "not negative"},
      {tensor("\"F32\"", "[4]", "[0,16]"), "reach outside"},
      {tensor("\"F32\"", "[1]", "[4,8]"), "after a gap"},
      {tensor("\"F32\"", "[1]", "[0,4]"), "the tensors end at byte"},
      {tensor("\"F32\"", "[4294967296,4294967296,4]", "[0,8]"), "too many elements"},
      {tensor("\"F32\"", "[9223372036854775807,2,0]", "[0,0]"), "too many elements"},
      {tensor("\"F32\"", "[0,4611686018427387904,2]", "[0,0]"), "too many elements"},
      {tensor("\"F32\"", "[18446744073709551615]", "[0,8]"), "not negative"},
      {tensor("\"F32\"", "[99999999999999999999]", "[0,8]"), "whole numbers"},
      {R"({"w":{"dtype":"F32","shape":[2]}})", "must be an object"},
      {R"({"w":[1,2]})", "must be an object"},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "inside another one"},
  };
  for (const auto& [header, expected] : faults) {
    const std::string message = error_for(header, 8);
    INFO(header << "\n" << message);
    CHECK(contains(message, expected));
    CHECK(contains(message, "crafted.safetensors"));
    if (contains(header, "\"w\"") && !contains(expected, "end at byte")) CHECK(contains(message, "tensor '"));
  }
  CHECK(contains(error_for("[]", 0), "JSON object"));
  CHECK(contains(error_for("{\"w\":", 0), "not valid JSON"));
  CHECK(contains(error_for("", 0), "not valid JSON"));
  CHECK(contains(error_for(R"({"__metadata__":{"a":1}})", 0), "metadata 'a'"));
  CHECK(contains(error_for(R"({"__metadata__":"a"})", 0), "__metadata__"));
  CHECK(contains(error_for(std::string(200'000, '['), 0), "nested"));
}

TEST_CASE("the length of the header is not believed") {
  const TemporaryFolder folder;
  const auto open = [&](std::uint64_t length) {
    return error_of([&] { SafetensorsFile(craft(folder, "{}", 0, length)); });
  };
  CHECK(open(2).empty());
  CHECK(contains(open(3), "cut off: the header has 3 bytes, the whole file 10; make or fetch it again"));
  CHECK(contains(open(99'000'000), "cut off"));
  CHECK(contains(open(std::numeric_limits<std::uint64_t>::max()), "not a safetensors file"));
  CHECK(contains(open(std::numeric_limits<std::uint64_t>::max() - 7), "not a safetensors file"));
}

TEST_CASE("more dimensions than arrays have are refused on reading") {
  const TemporaryFolder folder;
  const std::string header = R"({"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})";
  const SafetensorsFile file(craft(folder, header, 1, header.size()));
  CHECK(contains(error_of([&] { file.read("w"); }), "'w' has 7 dimensions"));
}
