// Options: flags, configs, precedence, and what is said about mistakes.
#include "examples/support/options.h"

#include <iostream>
#include <limits>
#include <sstream>

#include "core/determinism.h"
#include "core/files.h"
#include "examples/support/program.h"
#include "examples/support/training_options.h"
#include "optim/make_optimizer.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::testing;

namespace {

struct Values {
  double lr = 0.5;
  std::int64_t every = 10;
  int depth = 6;
  bool flip = true, verbose = false;
  std::string name = "none", qkv = "dense", kind = "a";
  std::optional<std::int64_t> steps;
  std::uint64_t seed = 1;
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

TrainingOptions parse_training(std::vector<const char*> arguments, OrderedJson* resolved = nullptr) {
  TrainingOptions values;
  values.epochs = 10;
  Options options("train", "Trains.");
  add_training_options(options, values);
  arguments.insert(arguments.begin(), "train");
  const bool go_on = options.parse(static_cast<int>(arguments.size()), arguments.data());
  REQUIRE(go_on);
  if (resolved) *resolved = options.resolved();
  return values;
}

}  // namespace

TEST_CASE("without arguments the defaults stay") {
  Values v;
  const OrderedJson resolved = parse(v, {});
  CHECK(v.lr == 0.5);
  CHECK(resolved == OrderedJson{{"lr", 0.5}, {"eval_every", 10}, {"depth", 6}, {"flip", true}, {"name", "none"},
                                {"kind", "a"}, {"linear", {{"qkv", "dense"}}}, {"steps", nullptr}, {"seed", 1}});
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
}

TEST_CASE("the nearest name is one of small edit distance or none") {
  CHECK(nearest("eval-evry", {"epochs", "eval-every"}) == "eval-every");
  CHECK(nearest("lr", {"layer", "lr"}) == "lr");
  CHECK(nearest("x", {"seed", "layer"}).empty());
  CHECK(nearest("", {"seed"}).empty());
  CHECK(nearest("abc", {}).empty());
}

TEST_CASE("runs repeat unless --allow-nondeterministic is given") {
  OrderedJson resolved;
  CHECK_FALSE(parse_training({}).allow_nondeterministic);
  CHECK(parse_training({"--allow-nondeterministic"}, &resolved).allow_nondeterministic);
  CHECK(resolved.at("allow_nondeterministic") == true);
  CHECK(deterministic());
}

TEST_CASE("--layer sets all places, --layer-at some of them, a place of its own wins") {
  OrderedJson resolved;
  auto v = parse_training({"--layer", "ss1:reduction=4"}, &resolved);
  CHECK(v.linear.qkv == "ss1:reduction=4");
  CHECK(v.linear.fc2 == "ss1:reduction=4");
  CHECK(resolved["linear"] == OrderedJson{{"qkv", "ss1:reduction=4"}, {"proj", "ss1:reduction=4"},
                                          {"fc1", "ss1:reduction=4"}, {"fc2", "ss1:reduction=4"}});
  CHECK_FALSE(resolved.contains("layer"));
  CHECK_FALSE(resolved.contains("resume"));

  v = parse_training({"--layer", "blast:ratio=0.4", "--layer-at", "qkv,fc1,fc2"});
  CHECK(v.linear.qkv == "blast:ratio=0.4");
  CHECK(v.linear.proj == "dense");
  v = parse_training({"--layer", "blast:ratio=0.4", "--linear.proj", "low_rank:rank=8"});
  CHECK(v.linear.proj == "low_rank:rank=8");
  CHECK(v.linear.fc1 == "blast:ratio=0.4");

  CHECK(contains(error_of([] { parse_training({"--layer-at", "qkv"}); }), "--layer-at needs --layer"));
  CHECK(contains(error_of([] { parse_training({"--layer", "dense", "--layer-at", "qkv,fc3"}); }), "'fc3'"));
}

TEST_CASE("--layer on the command line wins over the places of a config") {
  const TemporaryFolder folder;
  write_file(folder / "c.json", R"({"linear": {"qkv": "a", "fc1": "b"}, "layer": "c", "layer_at": "fc1,fc2"})");
  const std::string path = (folder / "c.json").string();
  auto v = parse_training({"--config", path.c_str()});
  CHECK((v.linear.qkv == "a" && v.linear.proj == "dense" && v.linear.fc1 == "b" && v.linear.fc2 == "c"));
  v = parse_training({"--config", path.c_str(), "--layer", "d"});
  CHECK((v.linear.qkv == "d" && v.linear.proj == "d" && v.linear.fc1 == "d" && v.linear.fc2 == "d"));
  v = parse_training({"--config", path.c_str(), "--layer", "d", "--layer-at", "proj"});
  CHECK((v.linear.qkv == "a" && v.linear.proj == "d" && v.linear.fc1 == "b" && v.linear.fc2 == "dense"));
}

TEST_CASE("epochs and steps: the one that is said closer to the command wins") {
  auto v = parse_training({});
  CHECK((v.epochs == 10 && !v.steps));
  v = parse_training({"--steps", "5"});
  CHECK((!v.epochs && v.steps == 5));
  CHECK(contains(error_of([] { parse_training({"--steps", "5", "--epochs", "2"}); }), "exclude each other"));
}

TEST_CASE("a run has no end beyond what can be counted") {
  CHECK(contains(error_of([] { parse_training({"--epochs", "9000000000000000000"}); }), "--epochs: needs at most 1e+09"));
  CHECK(contains(error_of([] { parse_training({"--minutes", "1e300"}); }), "--minutes: needs at most 1e+09"));
}

TEST_CASE("training options are checked together") {
  CHECK(parse_training({}).threads >= 1);
  CHECK(parse_training({"--threads", "3"}).threads == 3);
  CHECK(parse_training({"--dtype", "bf16"}).compute_dtype() == DType::bf16);
  CHECK(contains(error_of([] { parse_training({"--dtype", "fp16"}); }), "did you mean 'bf16'? Valid: f32, bf16"));
  CHECK(contains(error_of([] { parse_training({"--device", "gpu"}); }), "'gpu'"));
  CHECK(contains(error_of([] { parse_training({"--optimizer", "adam"}); }), "did you mean 'adamw'?"));
  CHECK(contains(error_of([] { parse_training({"--minutes", "0"}); }), "--minutes: needs more than 0"));
}

TEST_CASE("a resumed run reads the config in its folder, flags still win") {
  const TemporaryFolder folder;
  write_file(folder / "config.json", R"({"lr": 0.25, "batch": 3})");
  const std::string out = folder.path().string();
  auto v = parse_training({"--out", out.c_str(), "--resume", "--batch", "4"});
  CHECK((v.resume && v.optim.at("lr") == 0.25 && v.batch == 4));
  v = parse_training({"--out", out.c_str()});
  CHECK((!v.resume && v.optim.at("lr") == 1e-3));
}

TEST_CASE("an optimizer that a flag chooses starts from its own settings, not from those in the config") {
  const TemporaryFolder folder;
  write_file(folder / "c.json", R"({"optimizer": "adamw", "lr": 0.25, "weight_decay": 0.5, "optim": {"beta2": 0.98}})");
  const std::string config = (folder / "c.json").string();
  auto v = parse_training({"--config", config.c_str()});
  CHECK((v.optim.at("lr") == 0.25 && v.optim.at("weight_decay") == 0.5 && v.optim.at("beta2") == 0.98));
  CHECK(!v.optim.at("momentum"));
  v = parse_training({"--config", config.c_str(), "--optimizer", "sgd", "--weight-decay", "0.125"});
  const auto sgd = optim::default_settings("sgd");
  CHECK((v.optim.at("lr") == sgd.at("lr") && v.optim.at("weight_decay") == 0.125));
  CHECK((v.optim.at("momentum") == sgd.at("momentum") && !v.optim.at("beta2")));
  CHECK(contains(error_of([] { parse_training({"--optimizer", "sgd", "--optim.beta2", "0.9"}); }),
                 "--optim.beta2: sgd has no such setting; it has lr, optim.momentum"));
}

TEST_CASE("groups and the average of the weights are options of the run, and checked") {
  const auto v = parse_training({"--groups", "role=norm,lr=0.5", "--ema", "0.99"});
  CHECK((v.groups == "role=norm,lr=0.5" && v.ema == 0.99));
  CHECK(parse_training({}).ema == 0);
  CHECK(contains(error_of([] { parse_training({"--groups", "role=norms"}); }), "unknown role 'norms'"));
  CHECK(contains(error_of([] { parse_training({"--ema", "1"}); }), "--ema: needs at most"));
}

TEST_CASE("what would be found out too late, or would be lost, is refused among the options") {
  CHECK(contains(error_of([] { parse_training({"--warmup", "1"}); }), "--warmup: needs at most 0.99"));
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "");
  const std::string out = folder.path().string(), model = (folder / "model.safetensors").string();
  CHECK(contains(error_of([&] { parse_training({"--out", out.c_str(), "--overwrite", "--init-from", model.c_str()}); }),
                 "is a file that --overwrite would remove; give another --out"));
  CHECK(parse_training({"--out", "elsewhere", "--overwrite", "--init-from", model.c_str()}).init_from == model);
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
}

TEST_CASE("help does not offer to switch itself off") {
  Options options("test", "Tests.");
  bool on = true;
  options.add("on", on, "a switch");
  const char* argv[] = {"test", "--help"};
  std::ostringstream text;
  auto* const before = std::cout.rdbuf(text.rdbuf());
  options.parse(2, argv);
  std::cout.rdbuf(before);
  CHECK_FALSE(contains(text.str(), "--no-help"));
  CHECK(contains(text.str(), "a switch (on; --no-on switches it off)"));
}

TEST_CASE("exit codes") {
  char name[] = "test";
  char* argv[] = {name, nullptr};
  CHECK(run_program(1, argv, [](int, char**) {}) == 0);
  CHECK(run_program(1, argv, [](int, char**) { throw InputError("expected by the test: bad input\nof two lines"); }) == 2);
  CHECK(run_program(1, argv, [](int, char**) { throw Error("expected by the test: failure"); }) == 1);
  CHECK(run_program(1, argv, [](int, char**) { throw std::bad_alloc(); }) == 1);
}

TEST_CASE("one switch scales the learning rates of factors, and the resolved config records it") {
  OrderedJson resolved;
  CHECK_FALSE(parse_training({}, &resolved).lr_scale);
  CHECK(resolved["lr_scale"] == false);
  CHECK(parse_training({"--lr-scale"}, &resolved).lr_scale);
  CHECK(resolved["lr_scale"] == true);
}
