// The formats of image data sets on disk. `holds_…` only looks at names, so that a damaged set is recognised
// and its damage reported.
#pragma once
#include "data/image_dataset.h"

namespace ashlar::data {

bool holds_cifar10(const std::filesystem::path& folder);
ImageDataset load_cifar10(const std::filesystem::path& folder);

bool holds_cifar100(const std::filesystem::path& folder);
ImageDataset load_cifar100(const std::filesystem::path& folder);

bool holds_splits(const std::filesystem::path& folder);   // train/ or test/
bool holds_classes(const std::filesystem::path& folder);  // at least two folders with images
ImageDataset load_class_folders(const std::filesystem::path& folder, Dim side);  // as load_images()

// The (3, H, W) u8 pixels of a PNG, JPEG or BMP file as they lie there, whatever orientation EXIF has for them (as torchvision
// reads folders of images); grey becomes RGB, transparency is dropped. InputError
// with the path and the decoder's reason otherwise.
Array decode_image(const std::filesystem::path& path);

// At least one of them as (N, 3, H, W) u8, decoded on all threads: as they are, which must be of one size, for side 0;
// otherwise `side` x `side` pixels of each, by resize_and_crop().
Array read_images(const std::vector<std::filesystem::path>& files, Dim side);

}  // namespace ashlar::data
