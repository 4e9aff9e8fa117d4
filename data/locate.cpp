#include "data/locate.h"

#include <initializer_list>
#include <vector>

#include "core/error.h"
#include "data/embedded_text.h"
#include "data/folder.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

// False of files, and of folders that are closed to this user, such as lost+found.
bool can_list(const fs::path& path) {
  std::error_code failure;
  fs::directory_iterator(path, failure);
  return !failure;
}

std::optional<fs::path> downloaded(std::initializer_list<const char*> names) {
  for (const fs::path& base : {fs::path("."), fs::path(source_folder())}) {
    for (const char* name : names) {
      std::error_code failure;
      const fs::path folder = base / "data" / "downloads" / name;
      if (fs::is_directory(folder, failure)) return folder;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<fs::path> find_dataset(const fs::path& folder,
                                     const std::function<bool(const fs::path&)>& recognised,
                                     std::string_view what) {
  const std::vector<fs::path> entries = sorted_entries(folder, what);
  ASHLAR_CHECK(!entries.empty(), what, ": the folder ", folder.string(), " is empty");
  if (recognised(folder)) return folder;
  std::vector<fs::path> found;
  for (const fs::path& entry : entries)
    if (can_list(entry) && recognised(entry)) found.push_back(entry);
  if (found.empty()) return std::nullopt;
  ASHLAR_CHECK(found.size() == 1, what, ": ", folder.string(), " holds several data sets, ",
               found[0].filename().string(), " and ", found[1].filename().string(),
               "; give the path of one of them");
  return found[0];
}

// The names under which the official archives unpack.
std::optional<fs::path> downloaded_images() {
  return downloaded({"cifar-10-batches-bin", "cifar-100-binary"});
}
std::optional<fs::path> downloaded_text() { return downloaded({"wikitext-2", "wikitext-103"}); }

}  // namespace ashlar::data
