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

#include "core/files.h"
#include "data/folder.h"
#include "data/image_formats.h"

namespace ashlar::data {

Array decode_image(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  ASHLAR_CHECK(file.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
               "image: ", path.string(), " is too large: ", file.size(), " bytes");
  int width = 0, height = 0, channels_in_file = 0;
  constexpr int kChannels = 3;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(file.data()), static_cast<int>(file.size()),
                            &width, &height, &channels_in_file, kChannels),
      stbi_image_free);
  ASHLAR_CHECK(decoded, "image: cannot decode ", path.string(), " (", file.size(),
               " bytes): ", stbi_failure_reason());
  // (H, W, 3) to (3, H, W).
  Array image = Array::empty({kChannels, height, width}, DType::u8);
  auto* planes = image.data<std::uint8_t>();
  const Dim size = Dim{width} * height;
  for (Dim pixel = 0; pixel < size; ++pixel)
    for (Dim c = 0; c < kChannels; ++c) planes[c * size + pixel] = decoded.get()[pixel * kChannels + c];
  return image;
}

}  // namespace ashlar::data
