// What lies in a folder.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar::data {

// The entries of a folder by name, without hidden ones; InputError that starts with `what` if there is no such folder.
std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder, std::string_view what);

// The names of the first entries of a folder, for an error that says what is there instead.
std::string describe_folder(const std::filesystem::path& folder);

}  // namespace ashlar::data
