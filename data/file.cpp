#include "data/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"

namespace ashlar::data {
namespace fs = std::filesystem;

std::string read_file(const fs::path& path, std::string_view what) {
  std::error_code failure;
  ASHLAR_CHECK(fs::exists(path, failure), what, ": ", path.string(), " does not exist");
  ASHLAR_CHECK(!fs::is_directory(path, failure), what, ": ", path.string(), " is a folder, not a file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  ASHLAR_CHECK(file, what, ": cannot open ", path.string(), ": ", std::strerror(errno));
  std::string content(static_cast<std::size_t>(file.tellg()), '\0');
  file.seekg(0);
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  ASHLAR_CHECK(file.gcount() == static_cast<std::streamsize>(content.size()), what, ": cannot read ",
               path.string(), ": got ", file.gcount(), " of ", content.size(), " bytes");
  return content;
}

namespace {

// Writes, flushes and closes; 0 or an errno.
int write_all(int file, std::string_view content) {
  int failure = 0;
  while (!content.empty() && failure == 0) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written >= 0)
      content.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      failure = errno;
  }
  if (failure == 0 && ::fsync(file) != 0) failure = errno;
  if (::close(file) != 0 && failure == 0) failure = errno;
  return failure;
}

}  // namespace

void write_file_atomically(const fs::path& path, std::string_view content) {
  const std::string temporary = path.string() + ".tmp" + std::to_string(::getpid());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  int failure = file < 0 ? errno : write_all(file, content);
  if (failure == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) failure = errno;
  if (failure != 0) {
    ::unlink(temporary.c_str());
    throw Error(concat("write: cannot write ", path.string(), " (", content.size(),
                       " bytes): ", std::strerror(failure)));
  }
}

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
