// vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json.
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "data/byte_alphabet.h"
#include "data/tokenizer.h"

namespace ashlar::data {
namespace fs = std::filesystem;

namespace {

constexpr const char* kWhat = "tokenizer";

// The two files as Hugging Face calls them, which is how they are saved, and as OpenAI does; and what newer versions of
// transformers write in place of them.
struct Names {
  const char *vocabulary, *merges;
};
constexpr Names kNames[] = {{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}, {"tokenizer.json", "tokenizer.json"}};

std::optional<Names> find_names(const fs::path& folder) {
  std::error_code failure;
  for (const Names& names : kNames)
    if (fs::exists(folder / names.vocabulary, failure)) return names;
  return std::nullopt;
}

// For errors: no more of a damaged file than a reader wants to see.
std::string excerpt(std::string_view text) {
  constexpr std::size_t kShown = 80;
  if (text.size() <= kShown) return std::string(text);
  std::size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a character
  return concat(text.substr(0, end), "… (", text.size(), " bytes)");
}

// {"token": id, …} with the ids 0 … n − 1.
std::vector<std::string> parse_vocabulary(const Json& json, const fs::path& path) {
  ASHLAR_CHECK(json.is_object(), kWhat, ": ", path.string(), " is not a JSON object of tokens and ids");
  std::vector<std::string> tokens(json.size());
  std::vector<bool> seen(json.size(), false);
  for (const auto& [spelling, value] : json.items()) {
    ASHLAR_CHECK(value.is_number_integer(), kWhat, ": ", path.string(), ": the id of '",
                 excerpt(spelling), "' is not an integer");
    const auto id = value.get<std::int64_t>();
    ASHLAR_CHECK(id >= 0 && id < static_cast<std::int64_t>(tokens.size()), kWhat, ": ", path.string(), ": '",
                 excerpt(spelling), "' has id ", id, ", but the ", tokens.size(), " tokens must have the ids 0 to ",
                 tokens.size() - 1);
    const auto at = static_cast<std::size_t>(id);
    ASHLAR_CHECK(!seen[at], kWhat, ": ", path.string(), ": two tokens have id ", id, ", one of them is '",
                 excerpt(spelling), "'");
    seen[at] = true;
    const auto bytes = unspell_bytes(spelling);
    ASHLAR_CHECK(bytes, kWhat, ": ", path.string(), ": '", excerpt(spelling),
                 "' has a character outside GPT-2's byte alphabet");
    tokens[at] = *bytes;
  }
  return tokens;
}

// A line "#version: …", then one merge a line: two tokens with a space between.
std::vector<TokenPair> parse_merges(std::string_view content, const fs::path& path, const fs::path& vocabulary_path,
                                    const std::vector<std::string>& tokens) {
  std::unordered_map<std::string_view, TokenId> id_of;
  for (std::size_t id = 0; id < tokens.size(); ++id) id_of.emplace(tokens[id], static_cast<TokenId>(id));
  std::vector<TokenPair> merges;
  std::size_t number = 0;
  content = without_byte_order_mark(content);
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string_view line = content.substr(begin, end - begin);
    begin = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (++number == 1 && line.starts_with("#version")) continue;
    if (line.empty()) continue;
    const std::size_t space = line.find(' ');
    ASHLAR_CHECK(space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
                     line.find(' ', space + 1) == std::string_view::npos,
                 kWhat, ": ", path.string(), " line ", number, " is not two tokens with a space between: '",
                 excerpt(line), "'");
    const auto id = [&](std::string_view spelling) {
      const auto bytes = unspell_bytes(spelling);
      const auto found = bytes ? id_of.find(*bytes) : id_of.end();
      ASHLAR_CHECK(found != id_of.end(), kWhat, ": ", path.string(), " line ", number, " merges '",
                   excerpt(spelling), "', which ", vocabulary_path.string(), " lacks; the two files do not match");
      return found->second;
    };
    const TokenId left = id(line.substr(0, space));
    merges.push_back({left, id(line.substr(space + 1))});
  }
  return merges;
}

// The merges of a tokenizer.json, texts or pairs, as the lines of a file.
std::string lines_of(const Json& merges, const fs::path& path) {
  ASHLAR_CHECK(merges.is_array(), kWhat, ": ", path.string(), " has no list of merges in its model");
  std::string lines;
  for (const Json& merge : merges) {
    const bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    ASHLAR_CHECK(pair || merge.is_string(), kWhat, ": ", path.string(), ": the merge ", excerpt(merge.dump()), " is no two tokens");
    lines += (pair ? merge[0].get<std::string>() + " " + merge[1].get<std::string>() : merge.get<std::string>()) + "\n";
  }
  return lines;
}

// The vocabulary and the merges of a tokenizer.json. One that cuts or changes texts in another way than GPT-2's would be read as
// if it did not.
Json model_of(const Json& json, const fs::path& path) {
  const auto check = [&](bool right, const auto&... what) {
    ASHLAR_CHECK(right, kWhat, ": ", path.string(), what..., "; only tokenizers like GPT-2's are read");
  };
  const Json part = Json::object(), none;
  const Json model = json.is_object() ? json.value("model", part) : part;
  check(model.is_object() && model.contains("vocab") && model.value("type", Json("BPE")) == "BPE",
        " is not the tokenizer of a byte-level BPE");
  check(model.value("ignore_merges", Json(false)) == false, " takes whole words before merges");
  check(json.value("normalizer", none).is_null(), " changes texts by a normalizer");
  const Json cut = json.value("pre_tokenizer", part);
  check(cut.is_object() && cut.value("type", Json("ByteLevel")) == "ByteLevel" && cut.value("use_regex", Json(true)) == true &&
            cut.value("add_prefix_space", Json(false)) == false,
        " cuts texts by ", excerpt(cut.dump()));
  for (const Json& added : json.value("added_tokens", Json::array())) {
    const Json content = added.is_object() ? added.value("content", none) : none;
    check(content.is_string() && model["vocab"].contains(content.get_ref<const std::string&>()), " adds the token ",
          excerpt(content.dump()), " to its vocabulary");
  }
  return model;
}

}  // namespace

bool Tokenizer::is_in(const fs::path& folder) { return find_names(folder).has_value(); }

Tokenizer Tokenizer::load(const fs::path& folder) {
  const std::optional<Names> names = find_names(folder);
  ASHLAR_CHECK(names, kWhat, ": ", folder.string(), " has neither ", kNames[0].vocabulary, " (with ", kNames[0].merges, ") nor ",
               kNames[1].vocabulary, " (with ", kNames[1].merges, ") nor ", kNames[2].vocabulary);
  const fs::path vocabulary = folder / names->vocabulary, merges = folder / names->merges;
  const Json json = read_json(vocabulary);
  const bool both = vocabulary == merges;
  const Json model = both ? model_of(json, vocabulary) : Json();
  std::vector<std::string> tokens = parse_vocabulary(both ? model["vocab"] : json, vocabulary);
  const std::string lines = both ? lines_of(model.value("merges", Json()), merges) : read_file(merges);
  std::vector<TokenPair> pairs = parse_merges(lines, merges, vocabulary, tokens);
  try {
    return Tokenizer(std::move(tokens), std::move(pairs));
  } catch (const InputError& error) {
    throw InputError(concat(error.what(), " (", vocabulary.string(), " and ", merges.string(), ")"));
  }
}

void Tokenizer::save(const fs::path& folder) const {
  make_writable_folder(folder);
  std::string vocabulary, merges = "#version: 0.2\n";
  for (std::size_t id = 0; id < tokens_.size(); ++id)
    vocabulary += concat(id == 0 ? "{" : ", ", Json(spell_bytes(tokens_[id])).dump(), ": ", id);
  for (const TokenPair& pair : merges_)
    merges += spell_bytes(token(pair.left)) + " " + spell_bytes(token(pair.right)) + "\n";
  write_file(folder / kNames[0].vocabulary, vocabulary + "}\n");
  write_file(folder / kNames[0].merges, merges);
}

}  // namespace ashlar::data
