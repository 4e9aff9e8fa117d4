#include "core/text.h"

#include <array>
#include <limits>
#include <sstream>

#include "core/device.h"
#include "core/shape.h"
#include "tests/support/catch.h"

using namespace ashlar;

TEST_CASE("lists are joined with commas") {
  REQUIRE(join(std::vector<std::string>{}).empty());
  REQUIRE(join(std::vector<std::string>{"one"}) == "one");
  REQUIRE(join(std::array{"", "a", "b c"}) == ", a, b c");
}

TEST_CASE("of long lists the first parts are named, and how many there are more") {
  REQUIRE(join_first({"a", "b"}, 2) == "a, b");
  REQUIRE(join_first({"a", "b", "c", "d"}, 2) == "a, b and 2 more");
}

TEST_CASE("a text is a number only as a whole, and if the type holds it") {
  REQUIRE(parse_number<int>("-12") == -12);
  REQUIRE(parse_number<double>("1e3") == 1000);
  for (const char* text : {"", " 1", "1 ", "1x", "1.5", "99999999999"}) REQUIRE(!parse_number<int>(text));
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
  REQUIRE(nearest("sgx", {"sgd"}) == "sgd");
  REQUIRE(nearest("x", {"seed", "layer"}).empty());
  REQUIRE(nearest("", {"seed"}).empty());
  REQUIRE(nearest("abc", {}).empty());
  REQUIRE(did_you_mean("blst", {"dense", "blast"}) == "did you mean 'blast'? ");
  REQUIRE(did_you_mean("x", {"dense", "blast"}).empty());
}

TEST_CASE("parts of a text are written as by a stream") {
  const auto streamed = [](const auto&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
  };
  const double inf = std::numeric_limits<double>::infinity();
  for (const double number : {0.0, -0.0, 0.1, 1.0 / 3, 123456.0, 1234567.0, 1e-7, -2.5e300, inf, -inf}) {
    CHECK(concat(number) == streamed(number));
  }
  CHECK(concat(0.1f, ' ', std::string("a"), "b", std::string_view("c")) == streamed(0.1f, ' ', "abc"));
  CHECK(concat(std::numeric_limits<std::int64_t>::min(), ' ', std::numeric_limits<std::uint64_t>::max(), ' ', -3, ' ', true) ==
        streamed(std::numeric_limits<std::int64_t>::min(), ' ', std::numeric_limits<std::uint64_t>::max(), ' ', -3, ' ', true));
  CHECK(concat(std::uint8_t{65}, std::int8_t{-1}) == "65-1");  // numbers, not characters
  const Shape shape{2, 3};
  const Device device{DeviceType::cuda, 1};
  CHECK(concat(shape, Shape{}, DType::bf16, device) == "(2, 3)()bf16cuda:1");
  CHECK(streamed(shape, Shape{}, DType::bf16, device) == "(2, 3)()bf16cuda:1");
}
