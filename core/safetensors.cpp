#include "core/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "core/json.h"
#include "core/text.h"

namespace ashlar {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian values");

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeader = 100'000'000;  // the limit of the reference implementation
constexpr std::string_view kMetadataKey = "__metadata__";

// Values of binary16, of which there are no arrays, are read as f32, which has all of them.
constexpr std::string_view kHalf = "F16";

// The format's dtypes of whole bytes; those without a DType can be listed but not read.
struct FormatType {
  std::string_view name;
  std::size_t bytes;
  std::optional<DType> dtype;
};
constexpr std::array kTypes{
    FormatType{"F64", 8, DType::f64},     FormatType{"F32", 4, DType::f32},     FormatType{"BF16", 2, DType::bf16},
    FormatType{"I64", 8, DType::i64},     FormatType{"I32", 4, DType::i32},     FormatType{"U8", 1, DType::u8},
    FormatType{kHalf, 2, DType::f32},      FormatType{"I16", 2, std::nullopt},   FormatType{"I8", 1, std::nullopt},
    FormatType{"U64", 8, std::nullopt},   FormatType{"U32", 4, std::nullopt},   FormatType{"U16", 2, std::nullopt},
    FormatType{"BOOL", 1, std::nullopt},  FormatType{"C64", 8, std::nullopt},   FormatType{"F8_E4M3", 1, std::nullopt},
    FormatType{"F8_E5M2", 1, std::nullopt},
};

const FormatType* find_type(std::string_view name) {
  const auto found = std::ranges::find(kTypes, name, &FormatType::name);
  return found == kTypes.end() ? nullptr : &*found;
}
// Exact.
float widened(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
  if (exponent == 0) return std::copysign(std::ldexp(static_cast<float>(fraction), -24), sign ? -1.0f : 1.0f);
  const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 127 - 15;  // infinity and NaN have the largest
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}
std::string_view format_name(DType dtype) {
  return std::ranges::find(kTypes, std::optional(dtype), &FormatType::dtype)->name;
}

std::int64_t count_of(const Json& value, const std::string& tensor, std::string_view what) {
  constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
  ASHLAR_CHECK(value.is_number_unsigned() && value.get<std::uint64_t>() <= limit, tensor, ": ", what,
               " must hold whole numbers that are not negative, got ", value.dump());
  return value.get<std::int64_t>();
}

// What the header says of one tensor, with its values inside [data_begin, file_size).
SafetensorsFile::Entry parse_entry(const Json& value, const std::string& tensor, std::size_t data_begin,
                                   std::size_t file_size) {
  ASHLAR_CHECK(value.is_object() && value.contains("dtype") && value.contains("shape") && value.contains("data_offsets"),
               tensor, " must be an object with dtype, shape and data_offsets");
  const Json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  ASHLAR_CHECK(dtype.is_string() && find_type(dtype.get<std::string>()), tensor, ": unknown dtype ", dtype.dump());
  ASHLAR_CHECK(shape.is_array(), tensor, ": shape must be a list, got ", shape.dump());
  ASHLAR_CHECK(offsets.is_array() && offsets.size() == 2, tensor, ": data_offsets must be [begin, end], got ",
               offsets.dump());
  SafetensorsFile::Entry entry{dtype.get<std::string>(), {}, 0, 0};
  auto bytes = static_cast<std::int64_t>(find_type(entry.dtype)->bytes);
  std::int64_t room = sizeof(double);  // what Shape limits, where no size counts as 0
  for (const Json& size : shape) {
    const std::int64_t count = entry.shape.emplace_back(count_of(size, tensor, "shape"));
    ASHLAR_CHECK(!__builtin_mul_overflow(bytes, count, &bytes) &&
                     !__builtin_mul_overflow(room, std::max<std::int64_t>(count, 1), &room),
                 tensor, ": shape ", shape.dump(), " has too many elements");
  }
  const auto begin = static_cast<std::size_t>(count_of(offsets[0], tensor, "data_offsets"));
  const auto end = static_cast<std::size_t>(count_of(offsets[1], tensor, "data_offsets"));
  ASHLAR_CHECK(begin <= end && end <= file_size - data_begin, tensor, ": data_offsets ", offsets.dump(),
               " reach outside the ", file_size - data_begin, " bytes of values: the file is cut off or damaged; make or fetch it again");
  ASHLAR_CHECK(end - begin == static_cast<std::size_t>(bytes), tensor, ": ", entry.dtype, " values of shape ",
               shape.dump(), " take ", bytes, " bytes, data_offsets ", offsets.dump(), " hold ", end - begin);
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string where = path.string();
  ASHLAR_CHECK(file_.size() >= kLengthBytes, where, ": not a safetensors file: it has ", file_.size(),
               " bytes, the length of the header alone takes ", kLengthBytes);
  std::uint64_t length = 0;
  file_.read(0, &length, kLengthBytes);
  ASHLAR_CHECK(length <= kMaxHeader, where, ": not a safetensors file: its header would have ", length,
               " bytes, more than ", kMaxHeader);
  ASHLAR_CHECK(length <= file_.size() - kLengthBytes, where, ": cut off: the header has ", length,
               " bytes, the whole file ", file_.size(), "; make or fetch it again");
  std::string header(length, '\0');
  file_.read(kLengthBytes, header.data(), length);
  parse_header(header, kLengthBytes + length);
  check_layout(kLengthBytes + length);
}

void SafetensorsFile::parse_header(const std::string& text, std::size_t data_begin) {
  const std::string where = path().string();
  const Json header = parse_json(text, where + ": header", 4);
  ASHLAR_CHECK(header.is_object(), where, ": the header must be a JSON object");
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) {
      ASHLAR_CHECK(value.is_object(), where, ": ", kMetadataKey, " must be a JSON object");
      for (const auto& [key, content] : value.items()) {
        ASHLAR_CHECK(content.is_string(), where, ": metadata '", key, "' must be a text");
        metadata_[key] = content.get<std::string>();
      }
      continue;
    }
    const std::string tensor = concat(where, ": tensor '", name, "'");
    entries_.emplace(name, parse_entry(value, tensor, data_begin, file_.size()));
  }
}

// The values cover the rest of the file exactly, without overlap or gap.
void SafetensorsFile::check_layout(std::size_t data_begin) const {
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(&name, &entry);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::size_t expected = data_begin;
  for (const auto& [name, entry] : order) {
    ASHLAR_CHECK(entry->begin == expected, path().string(), ": tensor '", *name, "' begins at byte ", entry->begin,
                 ", ", entry->begin < expected ? "inside another one" : "after a gap", "; expected byte ", expected);
    expected = entry->end;
  }
  ASHLAR_CHECK(expected == file_.size(), path().string(), ": damaged: the tensors end at byte ", expected, ", the file at ",
               file_.size(), "; make or fetch it again");
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found != entries_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [there, entry] : entries_) names.push_back(there);
  throw InputError(concat(path().string(), ": there is no tensor '", name, "'; ", did_you_mean(name, names), "the file has ",
                          names.size(), " others"));
}

DType SafetensorsFile::dtype(const std::string& name) const {
  const std::string& stored = entry(name).dtype;
  const auto dtype = find_type(stored)->dtype;
  ASHLAR_CHECK(dtype, path().string(), ": tensor '", name, "' has dtype ", stored,
               "; convert it to F64, F32, F16, BF16, I64, I32 or U8");
  return *dtype;
}

Shape SafetensorsFile::shape(const std::string& name) const {
  const std::vector<Dim>& sizes = entry(name).shape;
  ASHLAR_CHECK(sizes.size() <= kMaxDims, path().string(), ": tensor '", name, "' has ", sizes.size(),
               " dimensions, at most ", kMaxDims, " are supported");
  return Shape(sizes);
}

Array SafetensorsFile::read(const std::string& name) const {
  const Entry& found = entry(name);
  Array result = Array::empty(shape(name), dtype(name));
  const View view = result;
  if (found.dtype == kHalf) {
    std::vector<std::uint16_t> halves(static_cast<std::size_t>(result.numel()));
    file_.read(found.begin, halves.data(), found.end - found.begin);
    std::ranges::transform(halves, view.as<float>(), widened);
    return result;
  }
  file_.read(found.begin, view.data, found.end - found.begin);
  return result;
}

void write_safetensors(const std::filesystem::path& path, const NamedArrays& tensors, const Metadata& metadata) {
  // Wide types first, so that every tensor is aligned to its type; then by name, as the reference implementation does.
  std::vector<const NamedArrays::value_type*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const auto* a, const auto* b) {
    const auto key = [](const auto* t) { return std::pair(-static_cast<int>(size_of(t->second.dtype())), t->first); };
    return key(a) < key(b);
  });

  Json header = Json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::size_t offset = 0;
  for (const auto* tensor : order) {
    const auto& [name, array] = *tensor;
    ASHLAR_CHECK(array.defined(), path.string(), ": tensor '", name, "' to be written is undefined");
    ASHLAR_CHECK(name != kMetadataKey && !header.contains(name), path.string(), ": tensor name '", name,
                 "' is given twice or reserved");
    const std::size_t bytes = static_cast<std::size_t>(array.numel()) * size_of(array.dtype());
    header[name] = {{"dtype", format_name(array.dtype())},
                    {"shape", array.shape().sizes()},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& error) {
    throw InputError(concat(path.string(), ": a tensor name or metadata is not valid UTF-8: ", error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');

  AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write(&length, kLengthBytes);
  file.write(text);
  for (const auto* tensor : order) {
    const Array array = tensor->second.to(Device{}).as_contiguous();
    const ConstView view = array;
    file.write(view.data, static_cast<std::size_t>(array.numel()) * size_of(array.dtype()));
  }
  file.commit();
}

}  // namespace ashlar
