// Where a data set lies: below the folder that was given, or where data/download.sh put it.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace ashlar::data {

// `folder` itself if `recognised` says so, otherwise the one subfolder of it that is recognised. Nothing when
// there is none; InputError that starts with `what` when the folder is missing or empty, or when several
// subfolders qualify.
std::optional<std::filesystem::path> find_dataset(
    const std::filesystem::path& folder, const std::function<bool(const std::filesystem::path&)>& recognised,
    std::string_view what);

// What data/download.sh has fetched into data/downloads of the current folder or of the project's sources.
std::optional<std::filesystem::path> downloaded_images();  // cifar10, otherwise cifar100
std::optional<std::filesystem::path> downloaded_text();    // wikitext2, otherwise wikitext103

}  // namespace ashlar::data
