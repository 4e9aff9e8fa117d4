// Resizing and cropping images to the size that a model takes.
#pragma once
#include "core/array.h"

namespace ashlar::data {

inline constexpr Dim kLongestSide = 65536;

// (channels, H, W) u8 to (channels, side, side) u8, with a side up to kLongestSide: scaled until the shorter side has `side`
// pixels, the longer as many as the proportions leave, rounded down, and of that the middle. A pixel is a mean weighted by a
// triangle, which reaches to the next pixels of the result where it is coarser than the image (antialiasing) and otherwise to
// those of the image: what torch calls interpolate(mode="bilinear", antialias=True) and Pillow Resampling.BILINEAR.
Array resize_and_crop(const Array& image, Dim side);

}  // namespace ashlar::data
