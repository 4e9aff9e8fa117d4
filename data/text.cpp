#include "data/text.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/files.h"
#include "core/error.h"
#include "data/embedded_text.h"
#include "data/folder.h"
#include "data/locate.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kWhat = "text";
constexpr std::array<const char*, 3> kSplits{"train", "valid", "test"};

// The file of a split in a folder; an empty path if there is none.
fs::path find_split(const fs::path& folder, const std::string& split) {
  std::error_code failure;
  for (const char* ending : {".tokens", ".raw"}) {
    const fs::path file = folder / ("wiki." + split + ending);
    if (fs::is_regular_file(file, failure)) return file;
  }
  std::vector<fs::path> found;
  for (const fs::path& entry : sorted_entries(folder, kWhat)) {
    const std::string name = entry.filename().string();
    if (name.ends_with(".txt") && name.find(split) != std::string::npos &&
        fs::is_regular_file(entry, failure))
      found.push_back(entry);
  }
  if (found.empty()) return {};
  ASHLAR_CHECK(found.size() == 1, kWhat, ": ", folder.string(), " has several files for the ", split,
               " split: ", found[0].filename().string(), " and ", found[1].filename().string());
  return found[0];
}

bool holds_text(const fs::path& folder) {
  return std::ranges::any_of(kSplits, [&](const char* split) { return !find_split(folder, split).empty(); });
}

}  // namespace

TextDataset load_text(const fs::path& path) {
  const auto folder = find_dataset(path, holds_text, kWhat);
  ASHLAR_CHECK(
      folder, kWhat, ": nothing recognised in ", path.string(),
      "; looked for wiki.{train,valid,test}.{tokens,raw} or *.txt with train, valid or test in the name, "
      "there and in its subfolders; ",
      describe_folder(path), "; data/download.sh wikitext2 fetches WikiText-2");
  std::array<std::string, 3> texts;
  bool wikitext = false;
  for (std::size_t s = 0; s < texts.size(); ++s) {
    const fs::path file = find_split(*folder, kSplits[s]);
    const bool required = s < 2;
    ASHLAR_CHECK(!file.empty() || !required, kWhat, ": ", folder->string(), " has no file for the ",
                 kSplits[s], " split: neither wiki.", kSplits[s], ".{tokens,raw} nor a *.txt with ",
                 kSplits[s], " in its name");
    if (file.empty()) continue;
    texts[s] = read_file(file);
    ASHLAR_CHECK(!texts[s].empty(), kWhat, ": ", file.string(), " is empty");
    wikitext = wikitext || file.extension() != ".txt";
  }
  return {std::move(texts[0]), std::move(texts[1]), std::move(texts[2]),
          (wikitext ? "WikiText in " : "text files in ") + folder->string()};
}

TextDataset embedded_text() {
  constexpr std::size_t kLinesPerBlock = 40;
  TextDataset data;
  data.description = "the text of Ashlar's own sources and documentation";
  std::string_view rest = embedded_sources();
  for (std::size_t block = 0; !rest.empty(); ++block) {
    std::size_t end = 0;
    for (std::size_t line = 0; line < kLinesPerBlock && end < rest.size(); ++line)
      end = std::min(rest.find('\n', end), rest.size() - 1) + 1;
    std::string& split = block % 10 == 4 ? data.valid : block % 10 == 9 ? data.test : data.train;
    split += rest.substr(0, end);
    rest.remove_prefix(end);
  }
  return data;
}

WordCount count_words(std::string_view text) {
  WordCount count;
  bool in_word = false;
  for (const char c : text) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    count.words += !space && !in_word;
    in_word = !space;
    count.lines += c == '\n';
  }
  count.lines += !text.empty() && text.back() != '\n';
  return count;
}

}  // namespace ashlar::data
