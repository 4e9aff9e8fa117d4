// Labelled images in memory: read from a folder, or drawn by the program itself.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/array.h"

namespace ashlar::data {

struct ImageSplit {
  Array images;  // (N, 3, H, W) u8: red, green, blue planes
  Array labels;  // (N) i32, below the number of classes
  Dim size() const { return images.defined() ? images.size(0) : 0; }
};

struct ImageDataset {
  ImageSplit train;
  ImageSplit test;  // may be empty
  std::vector<std::string> class_names;
  std::string description;  // "CIFAR-10, binary release, in data/cifar-10-batches-bin"
  ImageSplit valid = {};    // of a val/ folder, or what hold_out() has taken from `train`; else empty
};

// Reads the folder `path`, or the one folder in it that is recognised:
//   - the CIFAR-10 binary release: data_batch_{1..5}.bin and test_batch.bin
//   - the CIFAR-100 binary release: train.bin and test.bin, with the 100 fine labels
//   - train/<class>/*.{png,jpg,jpeg,bmp} and perhaps the same in test/, in val/, valid/ or validation/, or in both; or
//     <class>/*.{png,jpg,jpeg,bmp} of `path` itself, which are for training: images of one size, unless `side` gives them one;
//     the alphabetical order of the class folders numbers the classes
// A `side` above 0 makes all images side x side pixels, by resize_and_crop(). InputError that says what was looked for, or
// which file is wrong and how, otherwise.
ImageDataset load_images(const std::filesystem::path& path, Dim side = 0);

// The same with images of side x side pixels; for side 0 as they are.
ImageDataset resized(ImageDataset data, Dim side);

// The `fraction` for hold_out() that was asked for: of images with no others to judge a model by a tenth instead of 0.
double held_out_fraction(const ImageDataset& data, double asked);

// Moves `fraction` of the training images of each class, rounded, into `valid`; 0: none. Which, `seed` and the order of the
// images within their class decide alone. InputError naming --valid-fraction if there are such already, or with the class of
// which a split would have none.
ImageDataset hold_out(ImageDataset data, double fraction, std::uint64_t seed);

// Ten classes of shapes on 32 x 32 pixels, of many colours, places, sizes and angles, under noise, shading and
// clutter. Classes take turns, so any beginning of a split is balanced. Image i is a pure function of (seed,
// split, i).
ImageDataset procedural_images(std::uint64_t seed, Dim train_count = 10000, Dim test_count = 2000);

}  // namespace ashlar::data
