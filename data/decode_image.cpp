// stb_image, compiled here and nowhere else.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb/stb_image.h>

#include <limits>
#include <memory>
#include <string_view>

#include "core/files.h"
#include "data/image_formats.h"

namespace ashlar::data {
namespace {

// Bytes that a BMP with this header has at least; 0 for another format. stb_image takes what is missing for black.
std::size_t least_bmp_size(std::string_view file, int width, int height) {
  constexpr std::size_t kHeader = 30;
  if (file.size() < kHeader || !file.starts_with("BM")) return 0;
  const auto number = [&](std::size_t at, std::size_t bytes) {  // little endian
    std::size_t value = 0;
    for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(file[at + i]);
    return value;
  };
  const std::size_t pixels = number(10, 4), header = number(14, 4);
  const std::size_t bits = static_cast<std::size_t>(width) * number(header == 12 ? 24 : 28, 2);
  const std::size_t row = (bits + 31) / 32 * 4;  // the last one may lack its padding
  return pixels + row * static_cast<std::size_t>(height - 1) + (bits + 7) / 8;
}

// Whether a JPEG goes on from its first scan to an end marker. stb_image makes up what is missing, from version 2.29 on
// without an error.
bool has_jpeg_end(std::string_view file) {
  const auto byte = [&](std::size_t at) -> unsigned { return static_cast<unsigned char>(file[at]); };
  // The segments before the scan are skipped: one may hold a thumbnail, with an end marker of its own.
  std::size_t at = 2;
  while (at + 4 <= file.size() && byte(at) == 0xff && byte(at + 1) != 0xda) {
    const bool fill = byte(at + 1) == 0xff;  // a marker may follow any number of them
    at += fill ? 1 : 2 + (byte(at + 2) << 8 | byte(at + 3));
  }
  return file.find("\xff\xd9", at) != std::string_view::npos;  // no such bytes lie within a scan
}

}  // namespace

Array decode_image(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  ASHLAR_CHECK(file.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
               "image: ", path.string(), " is too large: ", file.size(), " bytes");
  ASHLAR_CHECK(!file.starts_with("\xff\xd8") || has_jpeg_end(file), "image: cannot decode ", path.string(),
               ": it is cut off, a JPEG of ", file.size(), " bytes without an end marker");
  int width = 0, height = 0, channels_in_file = 0;
  constexpr int kChannels = 3;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(file.data()), static_cast<int>(file.size()),
                            &width, &height, &channels_in_file, kChannels),
      stbi_image_free);
  const std::string_view reason = decoded ? "" : stbi_failure_reason();  // empty of some PNGs that end early
  ASHLAR_CHECK(decoded, "image: cannot decode ", path.string(), " (", file.size(), " bytes): ",
               reason.empty() ? "it is damaged or cut off" : reason, "; give a PNG, JPEG or BMP file");
  const std::size_t least = least_bmp_size(file, width, height);
  ASHLAR_CHECK(file.size() >= least, "image: cannot decode ", path.string(), ": it is cut off, with ", file.size(),
               " of at least ", least, " bytes");
  // (H, W, 3) to (3, H, W).
  Array image = Array::empty({kChannels, height, width}, DType::u8);
  auto* planes = image.data<std::uint8_t>();
  const Dim size = Dim{width} * height;
  for (Dim pixel = 0; pixel < size; ++pixel)
    for (Dim c = 0; c < kChannels; ++c) planes[c * size + pixel] = decoded.get()[pixel * kChannels + c];
  return image;
}

}  // namespace ashlar::data
