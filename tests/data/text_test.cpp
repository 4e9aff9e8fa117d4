#include "data/text.h"

#include "data/embedded_text.h"
#include "data/locate.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"
#include "tests/support/nobody.h"

namespace ashlar::data {

TEST_CASE("words_and_lines_are_counted_as_wikitext_does", "[data]") {
  const auto count = [](std::string_view text) {
    const WordCount found = count_words(text);
    return std::pair(found.words, found.lines);
  };
  REQUIRE(count("") == std::pair<Dim, Dim>(0, 0));
  REQUIRE(count(" \n") == std::pair<Dim, Dim>(0, 1));
  REQUIRE(count(" a  b\tc \n\n d") == std::pair<Dim, Dim>(4, 3));
  REQUIRE(count("a\vb\fc\r\nd") == std::pair<Dim, Dim>(4, 2));
  REQUIRE(count("one\n") == std::pair<Dim, Dim>(1, 1));
  REQUIRE(count("one") == std::pair<Dim, Dim>(1, 1));
  REQUIRE(count("one.\n<|endoftext|>\ntwo.") == std::pair<Dim, Dim>(3, 3));
  REQUIRE(count_words(" = Heading = \n \n a <unk> @-@ b . \n").tokens() == 3 + 5 + 3);
}

TEST_CASE("wikitext_has_the_published_token_counts", "[data]") {
  const auto folder = real_data("wikitext-2");
  if (!folder) {
    WARN("skipped: ASHLAR_DATA is unset or has no wikitext-2");
    return;
  }
  const TextDataset data = load_text(*folder);
  REQUIRE(count_words(data.train).tokens() == 2088628);
  REQUIRE(count_words(data.valid).tokens() == 217646);
  REQUIRE(count_words(data.test).tokens() == 245569);
}

TEST_CASE("text_folders_are_recognised", "[data]") {
  TemporaryFolder folder;
  folder.write("deep/wiki.train.raw", "a b\n");
  folder.write("deep/wiki.valid.tokens", "c\n");
  TextDataset data = load_text(folder.path());
  REQUIRE(data.train == "a b\n");
  REQUIRE(data.valid == "c\n");
  REQUIRE(data.test == "");
  folder.write("deep/wiki.test.tokens", "d\n");
  REQUIRE(load_text(folder.path()).test == "d\n");

  TemporaryFolder plain;
  plain.write("my_train_text.txt", "one");
  plain.write("validation.txt", "two");
  plain.write("the_test.txt", "three");
  for (const char* other : {"latest.txt", "constraints.txt", "invalid.txt", "values.txt", ".train.txt"}) plain.write(other, "news");
  plain.write("notes.md", "train");
  data = load_text(plain.path());
  REQUIRE((data.train == "one" && data.valid == "two" && data.test == "three"));
  REQUIRE(contains(data.description, "my_train_text.txt and validation.txt in "));
  std::filesystem::rename(plain / "validation.txt", plain / "my_val.txt");
  REQUIRE(load_text(plain.path()).valid == "two");
  plain.write("train2.txt", "four");
  const std::string error = error_of([&] { load_text(plain.path()); });
  REQUIRE(contains(error, "several files for the train split"));
  REQUIRE(contains(error, "train2.txt"));
}

TEST_CASE("a_text_to_train_on_that_names_the_test_is_no_test_split", "[data]") {
  TemporaryFolder folder;
  folder.write("train_without_test.txt", "one");
  folder.write("valid.txt", "two");
  const TextDataset data = load_text(folder.path());
  REQUIRE((data.train == "one" && data.valid == "two" && data.test.empty()));
}

TEST_CASE("of_a_single_text_the_last_tenth_is_kept_for_validation", "[data]") {
  TemporaryFolder folder;
  const auto file = folder.write("deep/novel.txt", "");
  const auto halves = [&](const std::string& text) {
    folder.write("deep/novel.txt", text);
    const TextDataset data = load_text(folder.path());
    REQUIRE(data.train + data.valid == text);
    REQUIRE(data.description == file.string() + ", whose last tenth is kept for validation");
    REQUIRE(load_text(file).valid == data.valid);
    return data;
  };
  REQUIRE(halves(std::string(100, 'a')).valid.size() == 10);
  // At the end of a line that is near, but not of one far before.
  REQUIRE(halves(std::string(86, 'a') + "\n" + std::string(13, 'b')).valid == std::string(13, 'b'));
  REQUIRE(halves(std::string(89, 'a') + "\n" + std::string(10, 'b')).valid == std::string(10, 'b'));
  REQUIRE(halves(std::string(90, 'a') + "\n" + std::string(9, 'b')).valid == "\n" + std::string(9, 'b'));
  REQUIRE(halves(std::string(80, 'a') + "\n" + std::string(19, 'b')).valid == std::string(10, 'b'));
  // With a text rather than a line, and never within what ends one.
  const std::string end = "<|endoftext|>";
  REQUIRE(halves(std::string(73, 'a') + end + "\nb\n" + std::string(11, 'c')).valid == "\nb\n" + std::string(11, 'c'));
  REQUIRE(halves(std::string(66, 'a') + end + "b\n" + std::string(19, 'c')).valid == std::string(10, 'c'));
  for (std::size_t before = 73; before < 87; ++before) {
    const std::string after(100 - end.size() - before, 'b');
    CAPTURE(before);
    REQUIRE(halves(std::string(before, 'a') + end + after).valid == after);
  }
  // Never within a character, here of four bytes.
  std::string smiles;
  for (int i = 0; i < 24; ++i) smiles += "\U0001F600";
  REQUIRE(halves(smiles + "abcd").valid.size() == 12);
  for (const char* text : {"a", "hello", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"}) {
    folder.write("deep/novel.txt", text);
    REQUIRE(contains(error_of([&] { load_text(folder.path()); }), "novel.txt is too short to keep a tenth of it for validation"));
  }
  folder.write("deep/novel.txt", "");
  REQUIRE(contains(error_of([&] { load_text(folder.path()); }), "novel.txt is empty"));
  // Splits win over it, also in a folder below.
  folder.write("other/train.txt", "one");
  folder.write("other/valid.txt", "two");
  REQUIRE(load_text(folder.path()).train == "one");
}

TEST_CASE("of_a_text_beside_a_test_the_last_tenth_is_kept_for_validation", "[data]") {
  TemporaryFolder folder;
  const auto file = folder.write("train.txt", std::string(100, 'a'));
  folder.write("test.txt", "three");
  const TextDataset data = load_text(folder.path());
  REQUIRE((data.train.size() == 90 && data.valid.size() == 10 && data.test == "three"));
  REQUIRE(data.description == file.string() + ", whose last tenth is kept for validation");
}

TEST_CASE("a_single_text_is_split_whatever_its_name_says", "[data]") {
  for (const char* name : {"constraints.txt", "validated.txt", "train_valid.txt"}) {
    TemporaryFolder folder;
    const auto file = folder.write(name, std::string(100, 'a'));
    CAPTURE(name);
    const TextDataset data = load_text(folder.path());
    REQUIRE((data.train.size() == 90 && data.valid.size() == 10));
    REQUIRE(data.description == file.string() + ", whose last tenth is kept for validation");
  }
}

TEST_CASE("a_neighbour_that_cannot_be_listed_is_no_text", "[data]") {
  namespace fs = std::filesystem;
  TemporaryFolder folder;
  folder.write("deep/train.txt", "a");
  folder.write("deep/valid.txt", "b");
  folder.write("lost+found/valid.txt", "c");
  const fs::path closed = folder / "lost+found";
  fs::permissions(folder.path(), fs::perms::all);
  fs::permissions(closed, fs::perms::none);
  std::error_code failure;
  bool is_closed = false;
  std::string found, error;
  const bool tried = test::as_nobody([&] {
    is_closed = fs::directory_iterator(closed, failure) == fs::directory_iterator() && failure;
    error = error_of([&] { found = load_text(folder.path()).train; });
  });
  fs::permissions(closed, fs::perms::owner_all);
  if (!tried) return;
  REQUIRE(is_closed);
  REQUIRE(error == "");
  REQUIRE(found == "a");
}

TEST_CASE("what_was_downloaded_is_found_in_the_folder_where_a_program_runs", "[data]") {
  namespace fs = std::filesystem;
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  std::vector<std::optional<fs::path>> found;
  for (const char* name : {"wikitext-103", "wikitext-2", "cifar-100-binary", "cifar-10-batches-bin"}) {
    fs::create_directories(fs::path("data/downloads") / name);
    found.push_back(std::string_view(name).starts_with("wiki") ? downloaded_text() : downloaded_images());
  }
  fs::current_path(before);
  const fs::path base = "./data/downloads";
  REQUIRE(found == std::vector<std::optional<fs::path>>{base / "wikitext-103", base / "wikitext-2", base / "cifar-100-binary",
                                                        base / "cifar-10-batches-bin"});
}

TEST_CASE("a_folder_without_text_says_what_is_missing", "[data]") {
  TemporaryFolder folder;
  const auto error = [&] { return error_of([&] { load_text(folder.path()); }); };
  REQUIRE(contains(error_of([&] { load_text(folder.path() / "none"); }), "does not exist"));
  REQUIRE(contains(error(), "is empty"));
  folder.write("readme.txt", "hello");
  folder.write("notes.txt", "hello");
  REQUIRE(contains(error(), "wiki.{train,valid,test}.{tokens,raw}"));
  REQUIRE(contains(error(), "a single .txt"));
  REQUIRE(contains(error(), "it holds notes.txt, readme.txt"));
  REQUIRE(contains(error_of([&] { load_text(folder.write("notes.md", "hello")); }), "notes.md is neither a folder nor a .txt; if it is text, let its name end so"));
  const auto missing = folder / "none.txt";
  REQUIRE(contains(error_of([&] { load_text(missing); }), "the file " + missing.string() + " does not exist"));
  folder.write("train.txt", "hello");
  REQUIRE(contains(error(), "no file for the valid split"));
  const auto file = folder.write("valid.txt", "");
  REQUIRE(contains(error(), file.string() + " is empty"));
  folder.write("valid.txt", std::string("\xff\xfeh\0", 4));
  REQUIRE(contains(error(), file.string() + " has bytes of zero, as UTF-16 and UTF-32 do and UTF-8 does not; convert it: iconv"));
}

TEST_CASE("bytes_that_are_no_utf8_are_told", "[data]") {
  TemporaryFolder folder;
  folder.write("train.txt", "na\xefve caf\xc3\xa9");
  folder.write("valid.txt", "caf\xc3\xa9");
  REQUIRE(contains(load_text(folder.path()).description, "; note: 1 byte of it is no UTF-8, and learned as characters of their own"));
  folder.write("test.txt", "\xe9t\xe9");
  const TextDataset data = load_text(folder.path());
  REQUIRE(contains(data.description, "; note: 3 bytes of it are no UTF-8"));
  REQUIRE(data.train == "na\xefve caf\xc3\xa9");
  folder.write("train.txt", "ca\xc3\xa9");
  folder.write("test.txt", "\xf0\x9f\x98\x80");
  REQUIRE(!contains(load_text(folder.path()).description, "UTF-8"));
}

TEST_CASE("texts_may_come_from_other_systems", "[data]") {
  TemporaryFolder folder;
  folder.write("TRAIN.TXT", "\xef\xbb\xbfone");
  folder.write("Valid.Txt", "two");
  const TextDataset data = load_text(folder.path());
  REQUIRE(data.train == "one");
  REQUIRE(data.valid == "two");
  REQUIRE(contains(data.description, "TRAIN.TXT and Valid.Txt"));
}

TEST_CASE("the_embedded_text_is_the_projects_own", "[data]") {
  const TextDataset data = embedded_text();
  REQUIRE(data.train.size() + data.valid.size() == embedded_sources().size());
  REQUIRE(contains(embedded_sources(), "==== data/text.h ====\n"));
  REQUIRE(contains(embedded_sources(), "// Text in its splits, and the word counts"));
  REQUIRE(data.train.size() > 6 * data.valid.size());
  REQUIRE(data.valid.size() > embedded_sources().size() / 20);
  for (const std::string* split : {&data.train, &data.valid}) REQUIRE(split->ends_with('\n'));
}

}  // namespace ashlar::data
