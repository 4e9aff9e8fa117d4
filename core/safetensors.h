// The safetensors format of Hugging Face: 8 bytes with the length of the header (little endian), the header as JSON
//   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
// and the values, row-major, little endian, without gaps. https://github.com/huggingface/safetensors
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/array.h"
#include "core/files.h"

namespace ashlar {

using NamedArrays = std::vector<std::pair<std::string, Array>>;
using Metadata = std::map<std::string, std::string>;

// An open file: the header is read and checked at once, values when they are asked for. Every fault of the file is an
// InputError naming the file and the tensor.
class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;               // as in the file: "F32"
    std::vector<Dim> shape;
    std::size_t begin = 0, end = 0;  // bytes from the start of the file
  };

  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const Metadata& metadata() const { return metadata_; }
  bool contains(const std::string& name) const { return entries_.count(name) > 0; }

  // As arrays have them, F16 as f32. InputError if there is no such tensor, or if arrays do not have its dtype or so many
  // dimensions.
  DType dtype(const std::string& name) const;
  Shape shape(const std::string& name) const;
  // A new array in host memory; the same errors.
  Array read(const std::string& name) const;

 private:
  const Entry& entry(const std::string& name) const;
  void parse_header(const std::string& text, std::size_t data_begin);
  void check_layout(std::size_t data_begin) const;

  InputFile file_;
  std::map<std::string, Entry> entries_;
  Metadata metadata_;
};

// Replaces the file at `path` atomically (core/files.h). Names must be unique and not "__metadata__". The same
// content gives the same bytes. Arrays may have any strides.
void write_safetensors(const std::filesystem::path& path, const NamedArrays& tensors, const Metadata& metadata = {});

}  // namespace ashlar
