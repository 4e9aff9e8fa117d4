#include "data/folder.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace ashlar::data {
namespace fs = std::filesystem;

std::vector<fs::path> sorted_entries(const fs::path& folder, std::string_view what) {
  std::error_code failure;
  ASHLAR_CHECK(fs::exists(folder, failure), what, ": the folder ", folder.string(),
               " does not exist; give another, or fetch data with data/download.sh");
  ASHLAR_CHECK(fs::is_directory(folder, failure), what, ": ", folder.string(), " is not a folder; give the one with the data");
  std::vector<fs::path> entries;
  fs::directory_iterator walk(folder, failure);
  ASHLAR_CHECK(!failure, what, ": cannot list the folder ", folder.string(), ": ", failure.message());
  for (const fs::directory_entry& entry : walk) {
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  }
  std::ranges::sort(entries, {}, [](const fs::path& path) { return path.filename().string(); });
  return entries;
}

std::string describe_folder(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& entry : sorted_entries(folder, "data")) names.push_back(entry.filename().string());
  return names.empty() ? "it is empty" : "it holds " + join_first(names);
}

}  // namespace ashlar::data
