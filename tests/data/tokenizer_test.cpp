#include "data/tokenizer.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "core/random.h"
#include "data/bpe_trainer.h"
#include "data/byte_alphabet.h"
#include "data/pretokenizer.h"
#include "data/text.h"
#include "tests/data/small_tokenizer.h"
#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

std::string random_bytes(std::uint64_t seed, std::size_t count) {
  const Random random(seed);
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(random.below(i, 256));
  return bytes;
}

std::string unhex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

}  // namespace

TEST_CASE("tokenizer_gives_the_references_ids", "[data]") {
  const auto folder = real_data("gpt2-bpe");
  if (!folder) {
    WARN("skipped: ASHLAR_DATA is unset or has no gpt2-bpe");
    return;
  }
  const Tokenizer tokenizer = Tokenizer::load(*folder);
  REQUIRE(tokenizer.vocab_size() == 50257);
  REQUIRE(tokenizer.end_of_text() == TokenId{50256});
  std::ifstream file(ASHLAR_SOURCE_DIR "/tests/golden/tokenizer_gpt2.json");
  const auto golden = nlohmann::json::parse(file);
  std::size_t checked = 0, wrong = 0;
  const auto check = [&](const std::string& text, const nlohmann::json& ids) {
    const auto expected = ids.get<std::vector<TokenId>>();
    const auto found = tokenizer.encode(text);
    ++checked;
    if (found != expected || tokenizer.decode(found) != text) {
      ++wrong;
      CAPTURE(spell_bytes(text), expected, found);
      CHECK(found == expected);
      CHECK(tokenizer.decode(found) == text);
    }
  };
  for (const auto& entry : golden["texts"]) check(entry[0].get<std::string>(), entry[1]);
  for (const auto& entry : golden["bytes"]) check(unhex(entry[0].get<std::string>()), entry[1]);
  REQUIRE(checked >= 2400);
  REQUIRE(wrong == 0);
}

TEST_CASE("a_merge_may_apply_before_the_next_place_of_a_higher_one", "[data]") {
  std::vector<std::string> tokens = single_bytes();
  for (const char* token : {"bc", "ab", "abc", "abca"}) tokens.emplace_back(token);
  // Two merges make "abc", the later one below that which goes on from there.
  const Tokenizer tokenizer(tokens, {{'b', 'c'}, {'a', 'b'}, {257, 'c'}, {258, 'a'}, {'a', 256}});
  REQUIRE(tokenizer.encode("abcabc") == std::vector<TokenId>{259, 256});
}

TEST_CASE("any_bytes_survive_encoding_and_decoding", "[data]") {
  const Tokenizer tokenizer = small_tokenizer();
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::string bytes = random_bytes(seed, seed);
    REQUIRE(tokenizer.decode(tokenizer.encode(bytes)) == bytes);
  }
  std::string all;
  for (unsigned byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  REQUIRE(tokenizer.decode(tokenizer.encode(all)) == all);
  REQUIRE(unspell_bytes(spell_bytes(all)) == all);
  REQUIRE(spell_bytes(" \n!") == "\xc4\xa0\xc4\x8a!");
  REQUIRE(unspell_bytes("a b") == std::nullopt);
  REQUIRE(unspell_bytes("\xe2\x82\xac") == std::nullopt);
}

TEST_CASE("long_texts_encode_as_their_parts_do", "[data]") {
  const Tokenizer tokenizer = small_tokenizer();
  const std::string unit = "it's abc  ab\n\n cab\xff 12ab... \xc3\xa9 \xe2\x80\x83 x'll ";
  std::string text;
  while (text.size() < (std::size_t{3} << 20)) text += unit;
  const std::vector<TokenId> once = tokenizer.encode(unit);
  std::vector<TokenId> expected;
  for (std::size_t i = 0; i < text.size() / unit.size(); ++i)
    expected.insert(expected.end(), once.begin(), once.end());
  REQUIRE((tokenizer.encode(text) == expected));
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 2 : 1);
  const bool same = tokenizer.encode(text) == expected;
  set_num_threads(threads);
  REQUIRE(same);
  // No place to cut, and a piece of a million bytes.
  const std::string run(std::size_t{5} << 18, 'a');
  REQUIRE(tokenizer.encode(run).size() == run.size());
}

TEST_CASE("the_end_of_a_text_is_its_token", "[data]") {
  const Tokenizer tokenizer = small_tokenizer();
  const TokenId end = *tokenizer.end_of_text(), space = ' ';
  using Ids = std::vector<TokenId>;
  REQUIRE(tokenizer.encode("<|endoftext|>") == Ids{end});
  REQUIRE(tokenizer.encode("<|endoftext|><|endoftext|>abc") == Ids{end, end, 257});
  // No merge reaches over it, and almost it is text.
  REQUIRE(tokenizer.encode("a<|endoftext|>b") == Ids{'a', end, 'b'});
  REQUIRE(tokenizer.encode("<|endoftext|").size() == 12);
  REQUIRE(tokenizer.encode("<<|endoftext|>|>") == Ids{'<', end, '|', '>'});
  REQUIRE(tokenizer.encode("\xc3<|endoftext|>\xa9") == Ids{0xc3, end, 0xa9});
  // What lies on both sides is cut as a text of its own: two spaces at the end are one piece, before a word they are two.
  REQUIRE(pretokenize("x.  <|endoftext|>  y", kEndOfText) ==
          std::vector<std::string_view>{"x", ".", "  ", kEndOfText, " ", " y"});
  REQUIRE(tokenizer.encode("  <|endoftext|>  ab") == Ids{space, space, end, space, space, 256});
  REQUIRE(tokenizer.decode(tokenizer.encode("ab <|endoftext|>\nab")) == "ab <|endoftext|>\nab");
  // Without the token it is text, whose first letters go with what stands before.
  std::vector<std::string> bytes = single_bytes();
  bytes.emplace_back(".<");
  REQUIRE(Tokenizer(bytes, {{'.', '<'}}).encode(".<|endoftext|>").size() == 13);
}

TEST_CASE("other_special_tokens_need_no_merge_and_are_ordinary_text", "[data]") {
  std::vector<std::string> tokens = single_bytes();
  tokens.emplace_back("<|pad|>");
  const Tokenizer tokenizer(tokens, {});
  REQUIRE(tokenizer.token(256) == "<|pad|>");
  REQUIRE(tokenizer.end_of_text() == std::nullopt);
  REQUIRE(tokenizer.encode("<|pad|>").size() == 7);
  tokens.back() = "<|pad|";
  REQUIRE(contains(error_of([&] { Tokenizer(tokens, {}); }), "no merge makes token 256 '<|pad|'"));
}

TEST_CASE("texts_encode_alike_however_many_lie_in_a_file", "[data]") {
  const Tokenizer tokenizer = small_tokenizer();
  const std::string unit = "it's abc \n<|endoftext|>\n cab.<|endoftext|>ab\xff  <|endoftext|> x'll ";
  const std::vector<TokenId> once = tokenizer.encode(unit);
  std::string text;
  std::vector<TokenId> expected;
  while (text.size() < (std::size_t{3} << 20)) {
    text += unit;
    expected.insert(expected.end(), once.begin(), once.end());
  }
  REQUIRE((tokenizer.encode(text) == expected));
}

TEST_CASE("cut_text_keeps_the_pieces", "[data]") {
  const std::string text = "a b  c\n\nit's \t x. <|endoftext|>  \n x<|endoftext|> \xff y\xc3\xa9 z";
  const auto whole = pretokenize(text, kEndOfText);
  for (std::size_t bytes = 1; bytes <= text.size() + 1; ++bytes) {
    std::vector<std::string_view> parts, pieces;
    for (const std::string_view part : cut_text(text, bytes))
      for (const std::string_view piece : pretokenize(part, kEndOfText)) pieces.push_back(piece);
    REQUIRE(pieces == whole);
  }
}

TEST_CASE("pretokenizer_cuts_as_gpt2_does", "[data]") {
  const auto pieces = [](std::string_view text) {
    std::vector<std::string> copies;
    for (const std::string_view piece : pretokenize(text)) copies.emplace_back(piece);
    return copies;
  };
  using Pieces = std::vector<std::string>;
  REQUIRE(pieces("").empty());
  REQUIRE(pieces("Hello world's  \n x") == Pieces{"Hello", " world", "'s", "  \n", " x"});
  REQUIRE(pieces("a1 ,b'll 'LL") == Pieces{"a", "1", " ,", "b", "'ll", " '", "LL"});
  for (const std::string contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    REQUIRE(pieces("I" + contraction + "b") == Pieces{"I", contraction, "b"});
  }
  // All of White_Space, of which only U+0020 goes with a word; U+180E (no longer one) and U+200B are none.
  REQUIRE(pieces("a  z") == Pieces{"a", " ", " z"});
  for (const std::string space :
       {"\t", "\n", "\v", "\f", "\r", "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
        "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"}) {
    CAPTURE(spell_bytes(space));
    REQUIRE(pieces("a" + space + space + "z") == Pieces{"a", space, space, "z"});
  }
  REQUIRE(pieces("a \xe1\xa0\x8ez") == Pieces{"a", " \xe1\xa0\x8e", "z"});
  REQUIRE(pieces("a \xe2\x80\x8bz") == Pieces{"a", " \xe2\x80\x8b", "z"});
  // Invalid bytes are symbols.
  REQUIRE(pieces("caf\xe9 au") == Pieces{"caf", "\xe9", " au"});
  REQUIRE(pieces(" \xff!\xc3") == Pieces{" \xff!\xc3"});
  REQUIRE(pieces(std::string_view("a\xc3\xa9", 2)) == Pieces{"a", "\xc3"});
  // So are letters of more bytes than they need, surrogates and what lies beyond U+10FFFF, where PCRE2 would look up anything.
  for (const std::string letter : {"\xc1\x81", "\xe0\x81\x81", "\xf0\x80\x81\x81", "\xed\xa0\x80", "\xed\xbf\xbf",
                                   "\xf4\x90\x80\x80", "\xf4\x90\x82\x80", "\xf4\xbf\xbf\xbf"}) {
    REQUIRE(pieces("a" + letter + "b") == Pieces{"a", letter, "b"});
  }
}

TEST_CASE("decoding_refuses_ids_outside_the_vocabulary", "[data]") {
  const std::vector<TokenId> ids{1, 259};
  REQUIRE(contains(error_of([&] { small_tokenizer().decode(ids); }), "id 259"));
  REQUIRE(contains(error_of([] { Tokenizer({"a", "b", "a"}, {}); }), "the vocabulary has 'a' twice"));
}

TEST_CASE("a_tokenizer_can_learn_and_encode_wikitext", "[data]") {
  const auto folder = real_data("wikitext-2");
  if (!folder) {
    WARN("skipped: ASHLAR_DATA is unset or has no wikitext-2");
    return;
  }
  const TextDataset data = load_text(*folder);
  const Tokenizer tokenizer = train_bpe(data.train, 8192);
  REQUIRE(tokenizer.vocab_size() == 8192);
  const auto ids = tokenizer.encode(data.valid);
  REQUIRE((tokenizer.decode(ids) == data.valid));
  // Four bytes a token is what byte pair encoding of this size gives for English.
  REQUIRE(data.valid.size() / ids.size() >= 3);
}

}  // namespace ashlar::data
