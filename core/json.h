// JSON files.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace ashlar {

using Json = nlohmann::json;                 // for reading: finds a key fast
using OrderedJson = nlohmann::ordered_json;  // for writing: keeps the order of the keys

// InputError starting with `source` and telling line and column. `max_depth` limits how deep arrays and objects may
// be nested: hostile input must not eat the memory.
Json parse_json(std::string_view text, std::string_view source, int max_depth = 64);
Json read_json(const std::filesystem::path& path);
void write_json(const std::filesystem::path& path, const OrderedJson& value);  // atomically, indented

}  // namespace ashlar
