// Whole files: reading, and writing so that a crash leaves either the old file or the new one.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar::data {

// The bytes of a file; InputError that starts with `what` and names the path and the reason otherwise.
std::string read_file(const std::filesystem::path& path, std::string_view what);

// Writes a temporary file beside `path`, flushes it to the disk and renames it. Throws Error that names the
// path; an older file at `path` then stays as it was.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// The entries of a folder by name; InputError that starts with `what` if there is no such folder.
std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder, std::string_view what);

// The names of the first entries of a folder, for an error that says what is there instead.
std::string describe_folder(const std::filesystem::path& folder);

}  // namespace ashlar::data
