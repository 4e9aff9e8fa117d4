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
