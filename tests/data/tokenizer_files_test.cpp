// The files of a tokenizer: what is read and written, and what is refused.
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/small_tokenizer.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {

TEST_CASE("tokenizer_files_survive_saving_and_loading", "[data]") {
  TemporaryFolder folder;
  const Tokenizer tokenizer = small_tokenizer();
  tokenizer.save(folder.path() / "new" / "tokenizer");
  const Tokenizer again = Tokenizer::load(folder.path() / "new" / "tokenizer");
  REQUIRE(again.vocab_size() == 259);
  REQUIRE(again.end_of_text() == TokenId{258});
  REQUIRE(again.encode("abcab") == std::vector<TokenId>{257, 256});
  for (TokenId id = 0; id < 259; ++id) REQUIRE(again.token(id) == tokenizer.token(id));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(folder.path() / "new" / "tokenizer"))
    ++files;
  REQUIRE(files == 2);  // no temporary file stays
}

TEST_CASE("a_tokenizer_is_read_under_other_names_too", "[data]") {
  TemporaryFolder folder;
  small_tokenizer().save(folder.path());
  const auto path = [&](const char* name) { return folder.path() / name; };
  const auto reads = [&] { return Tokenizer::load(folder.path()).encode("abcab") == std::vector<TokenId>{257, 256}; };
  std::ifstream file(path("vocab.json"));
  const nlohmann::json vocabulary = nlohmann::json::parse(file);
  std::filesystem::rename(path("vocab.json"), path("encoder.json"));
  std::filesystem::rename(path("merges.txt"), path("vocab.bpe"));
  REQUIRE(reads());
  std::filesystem::remove(path("vocab.bpe"));
  REQUIRE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "vocab.bpe: No such file or directory"));
  std::filesystem::remove(path("encoder.json"));

  const auto write = [&](const nlohmann::json& merges, const char* type = "BPE") {
    folder.write("tokenizer.json",
                 nlohmann::json{{"model", {{"type", type}, {"vocab", vocabulary}, {"merges", merges}}}}.dump());
  };
  write({"a b", "ab c"});
  REQUIRE(reads());
  write(nlohmann::json::array({nlohmann::json::array({"a", "b"}), nlohmann::json::array({"ab", "c"})}));
  REQUIRE(reads());
  folder.write("tokenizer.json", nlohmann::json{{"model", {{"vocab", vocabulary}, {"merges", {"a b", "ab c"}}}}}.dump());
  REQUIRE(reads());  // as older versions wrote it, without a type
  write({"a b", 7});
  REQUIRE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "tokenizer.json: the merge 7 is no two tokens"));
  folder.write("tokenizer.json", R"({"model": {"type": 3, "vocab": {}, "merges": []}})");
  REQUIRE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "tokenizer.json is not the tokenizer of a byte-level BPE"));
  write({"a b", "ab c"}, "Unigram");
  REQUIRE(contains(error_of([&] { Tokenizer::load(folder.path()); }), "tokenizer.json is not the tokenizer of a byte-level BPE"));
}

TEST_CASE("a_tokenizer_that_is_not_like_gpt2s_is_refused", "[data]") {
  TemporaryFolder folder;
  small_tokenizer().save(folder.path());
  std::ifstream file(folder.path() / "vocab.json");
  const nlohmann::json vocabulary = nlohmann::json::parse(file);
  for (const char* other : {"vocab.json", "merges.txt"}) std::filesystem::remove(folder.path() / other);
  // As transformers writes it.
  const nlohmann::json good{{"normalizer", nullptr},
                            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
                            {"added_tokens", {{{"id", 258}, {"content", "<|endoftext|>"}}}},
                            {"model", {{"vocab", vocabulary}, {"merges", {"a b", "ab c"}}, {"ignore_merges", false}}}};
  const auto error = [&](const char* place, const nlohmann::json& value) {
    nlohmann::json changed = good;
    changed[nlohmann::json::json_pointer(place)] = value;
    folder.write("tokenizer.json", changed.dump());
    return error_of([&] { Tokenizer::load(folder.path()); });
  };
  REQUIRE(error("/version", "1.0").empty());
  REQUIRE(contains(error("/normalizer", {{"type", "Lowercase"}}), "tokenizer.json changes texts by a normalizer; only tokenizers like GPT-2's"));
  REQUIRE(contains(error("/pre_tokenizer/type", "Split"), "cuts texts by {"));
  REQUIRE(contains(error("/pre_tokenizer/add_prefix_space", true), "cuts texts by {"));
  REQUIRE(contains(error("/pre_tokenizer/use_regex", false), "cuts texts by {"));
  REQUIRE(contains(error("/pre_tokenizer", nullptr), "cuts texts by null"));
  REQUIRE(contains(error("/model/ignore_merges", true), "takes whole words before merges"));
  REQUIRE(contains(error("/added_tokens/0/content", "[PAD]"), "adds the token \"[PAD]\" to its vocabulary"));
}

TEST_CASE("tokenizer_files_that_do_not_match_are_refused", "[data]") {
  TemporaryFolder folder;
  small_tokenizer().save(folder.path());
  const auto error = [&] { return error_of([&] { Tokenizer::load(folder.path()); }); };
  REQUIRE(error().empty());
  std::ifstream file(folder.path() / "vocab.json");
  nlohmann::json vocabulary = nlohmann::json::parse(file);
  const auto write = [&](const nlohmann::json& json) { folder.write("vocab.json", json.dump()); };

  SECTION("no merges") {
    std::filesystem::remove(folder.path() / "merges.txt");
    REQUIRE(contains(error(), "merges.txt: No such file or directory"));
  }
  SECTION("merges of another vocabulary") {
    folder.write("merges.txt", "#version: 0.2\na b\nab d\n");
    REQUIRE(contains(error(), "merge 1 'ab d' makes 'abd'"));
    REQUIRE(contains(error(), "merges.txt"));
  }
  SECTION("merge of an unknown token") {
    folder.write("merges.txt", "#version: 0.2\na b\nab c\nxy z\n");
    REQUIRE(contains(error(), "line 4 merges 'xy'"));
    REQUIRE(contains(error(), "vocab.json"));
  }
  SECTION("merges cut off") {
    folder.write("merges.txt", "#version: 0.2\na b\n");
    REQUIRE(contains(error(), "no merge makes token 257 'abc'"));
  }
  SECTION("merges in the wrong order") {
    folder.write("merges.txt", "ab c\na b\n");
    REQUIRE(contains(error(), "merge 0 'ab c' uses a token that no earlier merge makes"));
  }
  SECTION("merge twice") {
    folder.write("merges.txt", "a b\nab c\na b\n");
    REQUIRE(contains(error(), "merge 2 'a b' is listed twice"));
  }
  SECTION("merges after a byte order mark") {
    folder.write("merges.txt", "\xef\xbb\xbf#version: 0.2\na b\nab c\n");
    REQUIRE(error().empty());
  }
  SECTION("damaged merge line") {
    folder.write("merges.txt", "#version: 0.2\na b c\n");
    REQUIRE(contains(error(), "line 2 is not two tokens"));
  }
  SECTION("not JSON") {
    folder.write("vocab.json", "{\"a\": 1");
    REQUIRE(contains(error(), "vocab.json: not valid JSON at line 1, column 8"));
    folder.write("vocab.json", "[1]");
    REQUIRE(contains(error(), "vocab.json is not a JSON object"));
    folder.write("vocab.json", std::string(100'000, '['));
    REQUIRE(contains(error(), "nested more than 64 deep"));
  }
  SECTION("neither pair of files") {
    std::filesystem::remove(folder.path() / "vocab.json");
    REQUIRE(contains(error(), folder.path().string() +
                                  " has neither vocab.json (with merges.txt) nor encoder.json (with vocab.bpe) nor tokenizer.json"));
  }
  SECTION("a line of a megabyte") {
    folder.write("merges.txt", "#version: 0.2\n" + std::string(1 << 20, 'a') + "\n");
    REQUIRE(contains(error(), "aaa… (1048576 bytes)'"));
    REQUIRE(error().size() < 400);
    folder.write("merges.txt", "a " + std::string(1 << 20, 'b') + "\n");
    REQUIRE(error().size() < 400);
    folder.write("merges.txt", std::string(1 << 20, '\x80') + "\n");  // no character begins in it
    REQUIRE(error().size() < 400);
  }
  SECTION("empty JSON") {
    folder.write("vocab.json", "{}");
    REQUIRE(!error().empty());
  }
  SECTION("missing byte") {
    vocabulary.erase("!");
    vocabulary["<|x|>"] = int{'!'};
    write(vocabulary);
    REQUIRE(contains(error(), "no token for byte 33 ('!')"));
  }
  SECTION("id out of range") {
    vocabulary["abc"] = 300;
    write(vocabulary);
    REQUIRE(contains(error(), "'abc' has id 300"));
  }
  SECTION("id twice") {
    vocabulary["abc"] = 5;
    write(vocabulary);
    REQUIRE(contains(error(), "two tokens have id 5"));
  }
  SECTION("id that is no number") {
    vocabulary["ab"] = "258";
    write(vocabulary);
    REQUIRE(contains(error(), "the id of 'ab' is not an integer"));
  }
  SECTION("character outside the alphabet") {
    vocabulary["\xe2\x82\xac"] = 259;
    write(vocabulary);
    REQUIRE(contains(error(), "outside GPT-2's byte alphabet"));
  }
}

}  // namespace ashlar::data
