#include "data/folder.h"

#include <algorithm>

#include "core/error.h"

namespace ashlar::data {
namespace fs = std::filesystem;

std::vector<fs::path> sorted_entries(const fs::path& folder, std::string_view what) {
  std::error_code failure;
  ASHLAR_CHECK(fs::exists(folder, failure), what, ": the folder ", folder.string(), " does not exist");
  ASHLAR_CHECK(fs::is_directory(folder, failure), what, ": ", folder.string(), " is not a folder");
  std::vector<fs::path> entries;
  fs::directory_iterator walk(folder, failure);
  ASHLAR_CHECK(!failure, what, ": cannot list the folder ", folder.string(), ": ", failure.message());
  for (const fs::directory_entry& entry : walk) entries.push_back(entry.path());
  std::ranges::sort(entries, {}, [](const fs::path& path) { return path.filename().string(); });
  return entries;
}

std::string describe_folder(const fs::path& folder) {
  constexpr std::size_t kShown = 6;
  const std::vector<fs::path> entries = sorted_entries(folder, "data");
  if (entries.empty()) return "it is empty";
  std::string names;
  for (std::size_t i = 0; i < std::min(entries.size(), kShown); ++i)
    names += (i > 0 ? ", " : "") + entries[i].filename().string();
  if (entries.size() > kShown) names += ", and " + std::to_string(entries.size() - kShown) + " more";
  return "it holds " + names;
}

}  // namespace ashlar::data
