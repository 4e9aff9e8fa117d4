// What the tests of the data room share: the helpers of all tests, and where the real data lies.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace ashlar::data {

using test::contains;
using test::error_of;
using test::TemporaryFolder;

// A file or folder of ASHLAR_DATA, if it is there.
inline std::optional<std::filesystem::path> real_data(const std::string& name) {
  const char* root = std::getenv("ASHLAR_DATA");
  if (root == nullptr) return std::nullopt;
  const std::filesystem::path path = std::filesystem::path(root) / name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

}  // namespace ashlar::data
