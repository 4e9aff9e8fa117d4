// JSON: files that are written whole, faults told with their place, values of the type that is asked for.
#include "core/json.h"

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("JSON files: written whole, faults told with line and column") {
  const TemporaryFolder folder;
  write_json(folder / "value.json", {{"z", 1}, {"a", {1.5, nullptr}}});
  CHECK(read_json(folder / "value.json") == Json{{"a", {1.5, nullptr}}, {"z", 1}});
  CHECK(read_file(folder / "value.json").find("\"z\"") < read_file(folder / "value.json").find("\"a\""));

  write_file(folder / "bad.json", "{\n  \"a\": 1,\n  \"b\": oops\n}");
  const std::string message = error_of([&] { read_json(folder / "bad.json"); });
  CHECK(contains(message, (folder / "bad.json").string()));
  CHECK(contains(message, "line 3, column 8"));
  CHECK(contains(error_of([] { parse_json(std::string(100'000, '['), "hostile"); }), "nested more than 64"));
  CHECK(parse_json("[[1]]", "deep", 2).dump() == "[[1]]");
  CHECK(contains(error_of([] { parse_json("[[[1]]]", "deep", 2); }), "deep: JSON is nested more than 2 deep"));
  CHECK_FALSE(error_of([] { parse_json("", "empty"); }).empty());
  CHECK(contains(error_of([] { parse_json(R"({"a": {"b": 1}, "c": [{"b": 2}], "a": 3})", "twins"); }), "twins: key 'a' is there twice"));
  CHECK(contains(error_of([] { parse_json(R"({"a": {"b": 1, "c": [{}], "b": 2}})", "twins"); }), "twins: key 'b' is there twice"));
  CHECK(parse_json(R"({"a": {"b": 1}, "b": [{"a": 2}, {"a": 3}]})", "cousins").size() == 2);
  CHECK(contains(error_of([] { parse_json(R"({"lr": 1e400})", "huge"); }), "huge: number overflow parsing '1e400'"));

  const std::string latin1 = error_of([&] { write_json(folder / "value.json", {{"data", "caf\xe9"}}); });
  CHECK(contains(latin1, (folder / "value.json").string() + ": JSON holds no text that is not valid UTF-8"));
  CHECK(read_json(folder / "value.json").contains("z"));
}

TEST_CASE("values of a JSON object have the type that is asked for, or an error names file and key") {
  const char* text = R"({"n": 3, "x": 0.5, "on": true, "name": "a", "none": null, "huge": 18446744073709551615,
                        "linear": {"qkv": 5, "fc1": "dense"}})";
  const JsonObject object(parse_json(text, "c.json"), "c.json");
  CHECK(object.integer("n") == 3);
  CHECK(object.integer("none", 7) == 7);
  CHECK(object.number("x", 1) == 0.5);
  CHECK(object.number("n", 1) == 3);
  CHECK(object.number("y", 1) == 1);
  CHECK(object.flag("on", false));
  CHECK(object.text("name", "") == "a");
  CHECK(object.text("none", "b") == "b");
  CHECK(object.object("linear").text("fc1", "") == "dense");
  CHECK_FALSE(object.object("none").has("fc1"));
  CHECK(JsonObject(object).object("linear").integer("qkv") == 5);  // outlives what it was in
  CHECK(object.flat() == std::map<std::string, std::string>{{"n", "3"}, {"x", "0.5"}, {"on", "true"}, {"name", "a"},
                                                            {"huge", "18446744073709551615"}, {"linear.qkv", "5"},
                                                            {"linear.fc1", "dense"}});
  CHECK(JsonObject(Json{{"a", {{"b", {{"c", 1}}}}}}, "c.json").flat() == std::map<std::string, std::string>{{"a.b.c", "1"}});
  CHECK(JsonObject().flat().empty());
  CHECK_FALSE(object.has("none"));
  CHECK(error_of([&] { object.integer("m"); }) == "c.json: key 'm': needs a whole number; it is missing");
  CHECK(error_of([&] { object.integer("x", 1); }) == "c.json: key 'x': needs a whole number, got 0.5");
  CHECK(error_of([&] { object.integer("huge"); }) == "c.json: key 'huge': needs a smaller number, got 18446744073709551615");
  CHECK(error_of([&] { object.number("name", 1); }) == "c.json: key 'name': needs a number, got \"a\"");
  CHECK(error_of([&] { object.flag("n", true); }) == "c.json: key 'n': needs true or false, got 3");
  CHECK(error_of([&] { object.text("on", ""); }) == "c.json: key 'on': needs a text, got true");
  CHECK(error_of([&] { object.object("name"); }) == "c.json: key 'name': needs an object, got \"a\"");
  CHECK(error_of([&] { object.object("linear").text("qkv", ""); }) == "c.json: key 'linear.qkv': needs a text, got 5");
  const JsonObject lists(parse_json(R"({"x": [1, 0.5], "of": ["a", "b"], "none": [], "mixed": [1, "a"]})", "c.json"), "c.json");
  CHECK(lists.numbers("x") == std::vector<double>{1, 0.5});
  CHECK(lists.texts("of") == std::vector<std::string>{"a", "b"});
  CHECK(lists.texts("none").empty());
  CHECK(error_of([&] { lists.numbers("mixed"); }) == "c.json: key 'mixed': needs a list of numbers, got [1,\"a\"]");
  CHECK(error_of([&] { lists.texts("mixed"); }) == "c.json: key 'mixed': needs a list of texts, got [1,\"a\"]");
  CHECK(error_of([&] { lists.texts("y"); }) == "c.json: key 'y': needs a list of texts; it is missing");
  CHECK(error_of([&] { object.numbers("name"); }) == "c.json: key 'name': needs a list of numbers, got \"a\"");
  const JsonObject deep(parse_json(R"({"a": {"b": {"c": true}}})", "c.json"), "c.json");
  CHECK(error_of([&] { deep.object("a").object("b").integer("c"); }) == "c.json: key 'a.b.c': needs a whole number, got true");
  CHECK(error_of([] { JsonObject(Json(3), "c.json"); }) == "c.json: must be a JSON object");
}
