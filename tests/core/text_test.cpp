#include "core/text.h"

#include <array>

#include "tests/support/catch.h"

using namespace ashlar;

TEST_CASE("lists are joined with commas") {
  REQUIRE(join(std::vector<std::string>{}).empty());
  REQUIRE(join(std::vector<std::string>{"one"}) == "one");
  REQUIRE(join(std::array{"", "a", "b c"}) == ", a, b c");
}

TEST_CASE("lists are split without white space and empty parts") {
  REQUIRE(split("", ',').empty());
  REQUIRE(split(" , \t,", ',').empty());
  REQUIRE(split("a", ',') == std::vector<std::string>{"a"});
  REQUIRE(split(" a b ,,c=1\n, d", ',') == std::vector<std::string>{"a b", "c=1", "d"});
  REQUIRE(split("a,b;c,", ';') == std::vector<std::string>{"a,b", "c,"});
}

TEST_CASE("the nearest name is one of small edit distance or none") {
  REQUIRE(nearest("eval-evry", {"epochs", "eval-every"}) == "eval-every");
  REQUIRE(nearest("lr", {"layer", "lr"}) == "lr");
  REQUIRE(nearest("x", {"seed", "layer"}).empty());
  REQUIRE(nearest("", {"seed"}).empty());
  REQUIRE(nearest("abc", {}).empty());
  REQUIRE(did_you_mean("blst", {"dense", "blast"}) == "did you mean 'blast'? ");
  REQUIRE(did_you_mean("x", {"dense", "blast"}).empty());
}
