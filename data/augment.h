// The image operations of image_loader.cpp, on single images.
#pragma once
#include "core/random.h"
#include "data/image_loader.h"

namespace ashlar::data {

// Writes `from` (3, H, W) bytes to `to` (3, H, W) f32: output pixel (y, x) is input pixel (y + dy, x + dx),
// of the image flipped left to right if `flip`; pixels outside are black.
void place_image(const std::uint8_t* from, Dim height, Dim width, Dim dy, Dim dx, bool flip,
                 const PixelTable& table, float* to);

// A number from Beta(alpha, alpha), a pure function of `random`; alpha > 0.
double sample_beta(const Random& random, double alpha);

struct Box {
  Dim top, left, bottom, right;  // half-open
  Dim area() const { return (bottom - top) * (right - left); }
};
// CutMix's box: 1 − keep of the image's area around a uniform centre, cut off at the image's border.
Box cutmix_box(Dim height, Dim width, double keep, float centre_y, float centre_x);

}  // namespace ashlar::data
