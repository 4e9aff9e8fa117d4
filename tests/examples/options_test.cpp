// Options: flags, configs, precedence, and what is said about mistakes.
#include "examples/support/options.h"

#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/text.h"
#include "examples/support/program.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

struct Values {
  double lr = 0.5;
  std::int64_t every = 10;
  int depth = 6;
  bool flip = true, verbose = false;
  std::string name = "none", qkv = "dense", kind = "a";
  std::optional<std::int64_t> steps;
  std::uint64_t seed = 1;
  std::filesystem::path out = "runs", data;
};

// Parses these arguments; the declared options are those of Values.
OrderedJson parse(Values& v, std::vector<const char*> arguments) {
  Options options("test", "Tests.");
  options.add("lr", v.lr, "learning rate").more_than(0).at_most(10);
  options.add("eval_every", v.every, "evaluate every N steps").at_least(1);
  options.add("depth", v.depth, "blocks");
  options.add("flip", v.flip, "mirror images");
  options.add("verbose", v.verbose, "say more").flag_only();
  options.add("name", v.name, "a name");
  options.add("kind", v.kind, "one of two").choices({"alpha", "beta", "a"});
  options.add("linear.qkv", v.qkv, "a spec");
  options.add("steps", v.steps, "length");
  options.add("seed", v.seed, "seed");
  options.add("out", v.out, "results");
  options.add("data", v.data, "data");
  arguments.insert(arguments.begin(), "test");
  const bool go_on = options.parse(static_cast<int>(arguments.size()), arguments.data());
  REQUIRE(go_on);
  return options.resolved();
}

std::string error_for(std::vector<const char*> arguments) {
  Values values;
  return error_of([&] { parse(values, arguments); });
}

std::string config_error(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder / "c.json", text);
  const std::string path = (folder / "c.json").string();
  const std::string message = error_for({"--config", path.c_str()});
  INFO(message);
  CHECK(contains(message, "c.json"));
  return message;
}

}  // namespace

TEST_CASE("without arguments the defaults stay") {
  Values v;
  const OrderedJson resolved = parse(v, {});
  CHECK(v.lr == 0.5);
  CHECK(resolved == OrderedJson{{"lr", 0.5}, {"eval_every", 10}, {"depth", 6}, {"flip", true}, {"name", "none"},
                                {"kind", "a"}, {"linear", {{"qkv", "dense"}}}, {"steps", nullptr}, {"seed", 1}, {"out", "runs"}, {"data", ""}});
}

TEST_CASE("flags of every type, with a space or an equals sign") {
  Values v;
  parse(v, {"--lr", "1e-3", "--eval-every=7", "--depth", "-2", "--no-flip", "--verbose", "--name=--=", "--steps", "1e3",
            "--linear.qkv", "blast:blocks=4,rank=8", "--seed", "9007199254740993", "--kind=beta"});
  CHECK(v.lr == 1e-3);
  CHECK(v.every == 7);
  CHECK(v.depth == -2);
  CHECK_FALSE(v.flip);
  CHECK(v.verbose);
  CHECK(v.steps == 1000);
  CHECK(v.qkv == "blast:blocks=4,rank=8");
  CHECK(v.seed == 9007199254740993u);
  CHECK(v.kind == "beta");
}

TEST_CASE("a text that looks like a number stays a text, one with = keeps it") {
  Values v;
  parse(v, {"--name=1e3"});
  CHECK(v.name == "1e3");
  parse(v, {"--name=a=b"});
  CHECK(v.name == "a=b");
  parse(v, {"--name="});
  CHECK(v.name.empty());
}

TEST_CASE("a flag wins over the config, the config over the default, whatever the order") {
  const TemporaryFolder folder;
  write_file(folder / "c.json", R"({"lr": 0.25, "eval_every": 3, "flip": false, "linear": {"qkv": "low_rank:rank=8"}})");
  const std::string path = (folder / "c.json").string();
  Values v;
  const OrderedJson resolved = parse(v, {"--lr=0.125", "--config", path.c_str()});
  CHECK(v.lr == 0.125);
  CHECK(v.every == 3);
  CHECK_FALSE(v.flip);
  CHECK(v.depth == 6);
  CHECK(v.qkv == "low_rank:rank=8");

  // What is resolved is a config that says the same.
  write_json(folder / "resolved.json", resolved);
  const std::string again = (folder / "resolved.json").string();
  Values w;
  CHECK(parse(w, {"--config", again.c_str()}) == resolved);
  CHECK(w.lr == 0.125);
}

TEST_CASE("unknown flags name the nearest valid one") {
  CHECK(contains(error_for({"--lrr", "1"}), "option --lrr is unknown; did you mean --lr?"));
  CHECK(contains(error_for({"--evalevery=1"}), "did you mean --eval-every?"));
  CHECK(contains(error_for({"--no-flop"}), "did you mean --no-flip?"));
  CHECK(contains(error_for({"--zzzzzzzzzz"}), "option --zzzzzzzzzz is unknown; see --help"));
  CHECK(contains(error_for({"train"}), "'train' is not an option"));
  CHECK(contains(error_for({"-x"}), "'-x' is not an option"));
  CHECK(contains(error_for({"--no-lr", "1"}), "unknown"));
}

TEST_CASE("unknown keys of a config name the file and the nearest valid one") {
  CHECK(contains(config_error(R"({"eval_evry": 1})"), "key 'eval_evry' is unknown; did you mean eval_every?"));
  CHECK(contains(config_error(R"({"linear": {"qvk": "dense"}})"), "key 'linear.qvk' is unknown; did you mean linear.qkv?"));
  CHECK(contains(config_error(R"({"verbose": true})"), "key 'verbose' is unknown"));
  CHECK(contains(config_error(R"({"config": "x"})"), "key 'config' is unknown"));
}

TEST_CASE("values of a wrong type name the key or the flag") {
  CHECK(contains(config_error(R"({"lr": "fast"})"), "key 'lr': needs a number, got \"fast\""));
  CHECK(contains(config_error(R"({"eval_every": 1.5})"), "key 'eval_every': needs a whole number, got 1.5"));
  CHECK(contains(config_error(R"({"flip": 1})"), "key 'flip': needs true or false"));
  CHECK(contains(config_error(R"({"name": 5})"), "key 'name': needs a text"));
  CHECK(contains(config_error(R"({"linear": "dense"})"), "key 'linear': needs an object"));
  CHECK(contains(config_error(R"({"seed": -1})"), "key 'seed': needs a number that is not negative"));
  CHECK(contains(config_error(R"({"depth": 3000000000})"), "key 'depth'"));
  CHECK(contains(config_error(R"({"lr": null})"), "key 'lr'"));
  CHECK(contains(config_error("[1]"), "JSON object"));
  CHECK(contains(config_error("{\"lr\": 1,}"), "line 1"));
  CHECK(contains(error_for({"--lr", "fast"}), "--lr: needs a number, got \"fast\""));
  CHECK(contains(error_for({"--lr", "nan"}), "--lr: needs a number, got \"nan\""));
  CHECK(contains(error_for({"--lr", "inf"}), "--lr: needs a number, got \"inf\""));
  CHECK(contains(error_for({"--lr", "1e400"}), "--lr: needs a number, got \"1e400\""));
  CHECK(contains(error_for({"--seed", "18446744073709551616"}), "--seed: needs a whole number"));
  CHECK(contains(error_for({"--eval-every", "18446744073709551615"}), "--eval-every: needs a smaller number"));
  CHECK(contains(error_for({"--eval-every", "many"}), "--eval-every: needs a whole number"));
  CHECK(contains(error_for({"--seed", "-1"}), "--seed"));
  CHECK(contains(error_for({"--lr"}), "--lr needs a value"));
  CHECK(contains(error_for({"--lr", "--flip"}), "--lr needs a value"));
  CHECK(contains(error_for({"--flip=1"}), "switch"));
  CHECK(contains(error_for({"--config", "/nowhere/c.json"}), "/nowhere/c.json: No such file"));
}

TEST_CASE("an empty path is an error that names the option, but where a config keeps that none was given") {
  for (const char* flag : {"--out=", "--data="}) {
    CHECK(error_for({flag}) == std::string(flag, 0, std::string(flag).size() - 1) + ": the path is empty; give one, or leave it out");
  }
  CHECK(contains(error_for({"--out", ""}), "--out: the path is empty"));
  CHECK(contains(error_for({"--config", ""}), "--config: the path is empty"));
  CHECK(contains(config_error(R"({"out": ""})"), "key 'out': the path is empty"));
  const TemporaryFolder folder;
  const std::string path = folder.write("c.json", R"({"data": ""})").string();
  Values v;
  parse(v, {"--config", path.c_str()});
  CHECK(v.data.empty());
}

TEST_CASE("the largest seed is the same as a flag and as a key") {
  Values flag, key;
  parse(flag, {"--seed", "18446744073709551615"});
  CHECK(flag.seed == std::numeric_limits<std::uint64_t>::max());
  const TemporaryFolder folder;
  const std::string path = folder.write("c.json", R"({"seed": 18446744073709551615})").string();
  parse(key, {"--config", path.c_str()});
  CHECK(key.seed == flag.seed);
}

TEST_CASE("a text that is not valid UTF-8 can be used, but not kept in a config") {
  Values values;
  Options options("test", "Tests.");
  options.add("name", values.name, "a name");
  const char* arguments[] = {"test", "--name", "caf\xe9"};
  CHECK(options.parse(3, arguments));
  CHECK(values.name == "caf\xe9");
  CHECK(contains(error_of([&] { options.resolved(); }), "--name: 'caf\xe9' is not valid UTF-8"));
}

TEST_CASE("limits and choices are checked") {
  CHECK(contains(error_for({"--lr", "0"}), "--lr: needs more than 0, got 0"));
  CHECK(contains(error_for({"--lr", "11"}), "--lr: needs at most 10, got 11"));
  CHECK(contains(error_for({"--eval-every", "0"}), "--eval-every: needs at least 1"));
  CHECK(contains(error_for({"--kind", "betta"}), "'betta' is unknown; did you mean 'beta'? Valid: alpha, beta, a"));
  CHECK(contains(config_error(R"({"kind": "z"})"), "key 'kind': 'z' is unknown"));
}

TEST_CASE("the help names every option with its default") {
  Values v;
  Options options("test", "Tests.");
  options.group("Some");
  options.add("eval_every", v.every, "evaluate every N steps");
  options.add("flip", v.flip, "mirror images");
  options.add("kind", v.kind, "kind").choices({"alpha", "a"});
  options.add("steps", v.steps, "length");
  const std::string help = options.help();
  for (const char* part : {"test: Tests.", "Some\n", "--config FILE", "--eval-every N", "evaluate every N steps (10)",
                           "--no-flip", "kind: alpha, a (a)", "--steps N", "length\n"}) {
    INFO(part);
    CHECK(contains(help, part));
  }
  CHECK(help.ends_with("with _ for -.\n"));
  for (const std::string& line : split(options.help(80), '\n')) CHECK((line.size() <= 80 || line.starts_with("usage:")));
  std::string layer = "dense";
  options.add("linear.qkv", layer, "weights");
  CHECK(options.help().ends_with("a name with a dot is a key inside an object:\n  {\"linear\": {\"qkv\": \"dense\"}}\n"));
}

TEST_CASE("arguments that are no options are taken where a program wants them") {
  std::vector<std::string> names;
  bool on = false;
  Options options("test", "Tests.");
  options.positional("NAME", names);
  options.add("on", on, "a switch");
  const char* argv[] = {"test", "a", "--on", "b/c"};
  CHECK(options.parse(4, argv));
  CHECK((names == std::vector<std::string>{"a", "b/c"} && on));
  CHECK(contains(options.help(), "--no-switch]… NAME…\n"));
  const char* unknown[] = {"test", "-x"};
  CHECK(contains(error_of([&] { options.parse(2, unknown); }), "'-x' is not an option"));
  names.clear();
  const char* rest[] = {"test", "a", "--", "--no-on", "--", "-x"};
  CHECK(options.parse(6, rest));
  CHECK((names == std::vector<std::string>{"a", "--no-on", "--", "-x"} && on));
  Options none("test", "Tests.");
  CHECK(contains(error_of([&] { none.parse(3, rest + 1); }), "'--' is not an option"));
}

TEST_CASE("help tells the defaults, not what was given with it") {
  Options options("test", "Tests.");
  bool on = true;
  int width = 7;
  options.add("on", on, "a switch");
  options.add("width", width, "a width");
  const char* argv[] = {"test", "--no-on", "--width=9", "--help"};
  std::ostringstream text;
  auto* const before = std::cout.rdbuf(text.rdbuf());
  options.parse(4, argv);
  std::cout.rdbuf(before);
  CHECK_FALSE(contains(text.str(), "--no-help"));
  CHECK(contains(text.str(), "a switch (on; --no-on switches it off)"));
  CHECK(contains(text.str(), "a width (7)"));
}

TEST_CASE("exit codes") {
  char name[] = "test";
  char* argv[] = {name, nullptr};
  CHECK(run_program(1, argv, [](int, char**) {}) == 0);
  CHECK(run_program(1, argv, [](int, char**) { throw InputError("expected by the test: bad input\nof two lines"); }) == 2);
  CHECK(run_program(1, argv, [](int, char**) { throw Error("expected by the test: failure"); }) == 1);
  CHECK(run_program(1, argv, [](int, char**) { throw std::bad_alloc(); }) == 1);
}

TEST_CASE("long texts of the help go on below where they began") {
  Options options("test", "Tests.");
  std::string value = "a;b";
  options.add("list", value, std::string(70, 'x') + " " + std::string(70, 'y') + " z");
  CHECK(contains(options.help(), "\n  --list TEXT    " + std::string(70, 'x') + "\n" + std::string(17, ' ') + std::string(70, 'y') +
                                     " z (a;b)\n"));
}
