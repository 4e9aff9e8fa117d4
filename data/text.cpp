#include "data/text.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "core/files.h"
#include "core/error.h"
#include "core/text.h"
#include "data/embedded_text.h"
#include "data/folder.h"
#include "data/locate.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kWhat = "text";

// Whether a word of the file's name begins with this, or is this: not "latest", "constraints" or "invalid".
bool has_word(const std::string& file, std::string_view word, bool whole = false) {
  const auto letter = [&](std::size_t i) { return i < file.size() && std::isalpha(static_cast<unsigned char>(file[i])); };
  for (std::size_t at = file.find(word); at != std::string::npos; at = file.find(word, at + 1)) {
    if ((at == 0 || !letter(at - 1)) && !(whole && letter(at + word.size()))) return true;
  }
  return false;
}

bool names(const std::string& split, const std::string& file) {
  if (split == "valid") return has_word(file, split) || has_word(file, "val", true);
  // "train_without_test.txt" is no test split, which nobody would miss.
  return has_word(file, split) && (split != "test" || (!names("train", file) && !names("valid", file)));
}

// The file of a split in a folder; an empty path if there is none.
fs::path find_split(const fs::path& folder, const std::string& split) {
  std::error_code failure;
  for (const char* ending : {".tokens", ".raw"}) {
    const fs::path file = folder / ("wiki." + split + ending);
    if (fs::is_regular_file(file, failure)) return file;
  }
  std::vector<fs::path> found;
  for (const fs::path& entry : sorted_entries(folder, kWhat)) {
    const std::string name = lowercase(entry.filename().string());
    if (name.ends_with(".txt") && names(split, name) && fs::is_regular_file(entry, failure)) found.push_back(entry);
  }
  if (found.empty()) return {};
  ASHLAR_CHECK(found.size() == 1, kWhat, ": ", folder.string(), " has several files for the ", split,
               " split: ", found[0].filename().string(), " and ", found[1].filename().string(), "; leave one of them there");
  return found[0];
}

bool holds_text(const fs::path& folder) {
  return !find_split(folder, "train").empty() || !find_split(folder, "valid").empty();
}

bool is_txt(const fs::path& path) {
  std::error_code failure;
  return lowercase(path.extension().string()) == ".txt" && fs::is_regular_file(path, failure);
}

// The one .txt of a folder; an empty path if there is none or several.
fs::path find_lone_text(const fs::path& folder) {
  std::vector<fs::path> found = sorted_entries(folder, kWhat);
  std::erase_if(found, [](const fs::path& entry) { return !is_txt(entry); });
  return found.size() == 1 ? found[0] : fs::path();
}

std::string read_text(const fs::path& file) {
  std::string text(without_byte_order_mark(read_file(file)));
  ASHLAR_CHECK(!text.empty(), kWhat, ": ", file.string(), " is empty; give a file with text");
  ASHLAR_CHECK(text.find('\0') == std::string::npos, kWhat, ": ", file.string(), " has bytes of zero, as UTF-16 and UTF-32 do "
               "and UTF-8 does not; convert it: iconv -f UTF-16 -t UTF-8");
  return text;
}

// Where the last tenth of a file begins: with a text or else a line of it if one begins shortly before, otherwise with a
// character of UTF-8. It may be a little less than a tenth, where it would begin within kEndOfText.
std::size_t last_tenth(std::string_view text) {
  std::size_t begin = text.size() - text.size() / 10;
  for (const std::string_view end : {kEndOfText, std::string_view("\n")}) {
    const std::size_t found = text.substr(0, begin + end.size() - 1).rfind(end);
    if (found != std::string_view::npos && begin <= found + end.size() + text.size() / 20) return found + end.size();
  }
  const auto goes_on = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  while (begin > 0 && begin < text.size() && goes_on(text[begin])) --begin;
  return begin;
}

TextDataset split_text(const fs::path& file) {
  std::string text = read_text(file);
  const std::size_t cut = last_tenth(text);
  ASHLAR_CHECK(cut > 0 && cut < text.size(), kWhat, ": ", file.string(),
               " is too short to keep a tenth of it for validation; give a longer one");
  std::string valid = text.substr(cut);
  text.resize(cut);
  return {std::move(text), std::move(valid), file.string() + ", whose last tenth is kept for validation"};
}

// Bytes that begin no character of UTF-8.
Dim stray_bytes(std::string_view text) {
  Dim count = 0;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    count += length == 0;
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return count;
}

TextDataset find_text(const fs::path& path) {
  if (is_txt(path)) return split_text(path);
  std::error_code failure;
  ASHLAR_CHECK(!fs::is_regular_file(path, failure), kWhat, ": ", path.string(),
               " is neither a folder nor a .txt; if it is text, let its name end so");
  ASHLAR_CHECK(fs::exists(path, failure) || lowercase(path.extension().string()) != ".txt", kWhat, ": the file ", path.string(),
               " does not exist");
  const auto folder = find_dataset(path, holds_text, kWhat);
  if (!folder) {
    const auto lone = find_dataset(path, [](const fs::path& entry) { return !find_lone_text(entry).empty(); }, kWhat);
    if (lone) return split_text(find_lone_text(*lone));
  }
  ASHLAR_CHECK(
      folder, kWhat, ": nothing recognised in ", path.string(),
      "; looked for wiki.{train,valid,test}.{tokens,raw}, *.txt with train, valid or test in the name, or a single .txt, there "
      "and in its subfolders; ",
      describe_folder(path), "; data/download.sh wikitext2 fetches WikiText-2");
  const fs::path train = find_split(*folder, "train"), valid = find_split(*folder, "valid"), test = find_split(*folder, "test");
  const fs::path lone = find_lone_text(*folder);
  const bool alone = train == valid || (!lone.empty() && ((train == lone && valid.empty()) || (valid == lone && train.empty())));
  if (alone || (!train.empty() && valid.empty() && !test.empty())) {
    TextDataset data = split_text(train.empty() ? valid : train);
    if (!test.empty()) data.test = read_text(test);
    return data;
  }
  bool wikitext = false;
  const auto read = [&](const char* split, const fs::path& file) {
    ASHLAR_CHECK(!file.empty(), kWhat, ": ", folder->string(), " has no file for the ", split, " split: neither wiki.",
                 split, ".{tokens,raw} nor a *.txt with ", split, " in its name; add one, or give a single "
                 "file, whose last tenth is kept for validation");
    wikitext = wikitext || !is_txt(file);
    return read_text(file);
  };
  TextDataset data{read("train", train), read("valid", valid), {}, test.empty() ? "" : read("test", test)};
  const std::string files = concat(train.filename().string(), " and ", valid.filename().string());
  data.description = concat(wikitext ? "WikiText" : files, " in ", folder->string());
  return data;
}

}  // namespace

TextDataset load_text(const fs::path& path) {
  TextDataset data = find_text(path);
  const Dim strays = stray_bytes(data.train) + stray_bytes(data.valid) + stray_bytes(data.test);
  if (strays > 0) {
    data.description += concat("; note: ", strays, strays == 1 ? " byte of it is" : " bytes of it are", " no UTF-8, and learned as "
                               "characters of their own; if it is Latin-1, convert it: iconv -f LATIN1 -t UTF-8");
  }
  return data;
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
    (block % 10 == 4 ? data.valid : data.train) += rest.substr(0, end);
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
