// The options of training runs, and what is said about those that do not fit together.
#include "examples/support/training_options.h"

#include <nlohmann/json.hpp>

#include "core/determinism.h"
#include "core/files.h"
#include "core/text.h"
#include "examples/support/setting_help.h"
#include "optim/make_optimizer.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

using Found = std::optional<std::filesystem::path>;

TrainingOptions parse_training(std::vector<const char*> arguments, OrderedJson* resolved = nullptr, const Found& downloaded = {}) {
  TrainingOptions values;
  values.epochs = 10;
  Options options("train", "Trains.");
  add_training_options(options, values, "the data");
  arguments.insert(arguments.begin(), "train");
  const bool go_on = options.parse(static_cast<int>(arguments.size()), arguments.data());
  REQUIRE(go_on);
  values.find_data(options, [&] { return downloaded; });
  if (resolved) *resolved = options.resolved();
  return values;
}

}  // namespace

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
  CHECK(contains(error_of([] { parse_training({"--layer", "dense", "--layer-at", ","}); }), "names no place"));
  CHECK(contains(error_of([] { parse_training({"--layer", "dense", "--layer-at", ""}); }), "names no place"));
  v = parse_training({"--layer", "ss1:reduction=4", "--layer-at", "qkv, fc1"});
  CHECK((v.linear.qkv == v.linear.fc1 && v.linear.fc1 == "ss1:reduction=4" && v.linear.fc2 == "dense"));
}

TEST_CASE("--layer on the command line wins over the places of a config, where it is restricted only over those") {
  const TemporaryFolder folder;
  write_file(folder / "c.json", R"({"linear": {"qkv": "a", "fc1": "b"}, "layer": "c", "layer_at": "fc1,fc2"})");
  const std::string path = (folder / "c.json").string();
  auto v = parse_training({"--config", path.c_str()});
  CHECK((v.linear.qkv == "a" && v.linear.proj == "dense" && v.linear.fc1 == "b" && v.linear.fc2 == "c"));
  v = parse_training({"--config", path.c_str(), "--layer", "d"});
  CHECK((v.linear.qkv == "d" && v.linear.proj == "d" && v.linear.fc1 == "d" && v.linear.fc2 == "d"));
  v = parse_training({"--config", path.c_str(), "--layer", "d", "--layer-at", "proj"});
  CHECK((v.linear.qkv == "a" && v.linear.proj == "d" && v.linear.fc1 == "b" && v.linear.fc2 == "c"));
}

TEST_CASE("epochs and steps: the one that is said closer to the command wins") {
  auto v = parse_training({});
  CHECK((v.epochs == 10 && !v.steps));
  v = parse_training({"--steps", "5"});
  CHECK((!v.epochs && v.steps == 5));
  CHECK(contains(error_of([] { parse_training({"--steps", "5", "--epochs", "2"}); }), "exclude each other"));
}

TEST_CASE("epochs may be parts of one, and whole ones are kept as they are written") {
  OrderedJson resolved;
  CHECK(parse_training({"--epochs", "0.5"}, &resolved).epochs == 0.5);
  CHECK(resolved["epochs"].dump() == "0.5");
  CHECK(parse_training({"--epochs", "3"}, &resolved).epochs == 3);
  CHECK(resolved["epochs"].dump() == "3");
  CHECK(contains(error_of([] { parse_training({"--epochs", "0"}); }), "--epochs: needs more than 0"));
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

TEST_CASE("a config that a resumed run is given wins over the one in its folder, which keeps what it leaves open") {
  const TemporaryFolder folder;
  write_file(folder / "config.json", R"({"lr": 0.25, "batch": 3, "seed": 7, "epochs": null, "steps": 50, "data": "here"})");
  const std::string out = folder.path().string(), given = (folder / "given.json").string();
  write_file(given, R"({"lr": 0.5, "batch": 3, "data": ""})");
  const auto resume = [&](std::vector<const char*> more) {
    more.insert(more.begin(), {"--out", out.c_str(), "--resume", "--config", given.c_str()});
    return parse_training(more);
  };
  auto v = resume({});
  CHECK((v.optim.at("lr") == 0.5 && v.batch == 3 && v.seed == 7 && v.steps == 50 && !v.epochs && v.data.empty()));
  v = resume({"--lr", "0.125"});
  CHECK((v.optim.at("lr") == 0.125 && v.seed == 7));
  write_file(given, R"({"epochs": 4})");
  const std::string error = error_of([&] { resume({}); });
  CHECK(contains(error, concat(given, ": key 'epochs' and ", (folder / "config.json").string(), ": key 'steps' exclude each other")));
  CHECK(resume({"--steps", "60"}).steps == 60);
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
  // Named again it is the same one, also where neither names it and a flag names the default.
  v = parse_training({"--config", config.c_str(), "--optimizer", "adamw"});
  CHECK((v.optim.at("lr") == 0.25 && v.optim.at("weight_decay") == 0.5 && v.optim.at("beta2") == 0.98));
  write_file(folder / "c.json", R"({"lr": 0.25})");
  CHECK(parse_training({"--config", config.c_str(), "--optimizer", "adamw"}).optim.at("lr") == 0.25);
  CHECK(parse_training({"--config", config.c_str(), "--optimizer", "sgd"}).optim.at("lr") == sgd.at("lr"));
  CHECK(contains(error_of([] { parse_training({"--optimizer", "sgd", "--optim.beta2", "0.9"}); }),
                 "--optim.beta2: sgd has no such setting; it has lr, optim.momentum"));
}

TEST_CASE("--help has a sentence and the defaults for every setting of every optimizer") {
  TrainingOptions values;
  Options options("train", "Trains.");
  add_training_options(options, values, "the data");
  std::string help = options.help();
  for (std::size_t at = 0; (at = help.find("\n     ", at)) != std::string::npos;) {  // unwrapped
    help.replace(at, help.find_first_not_of("\n ", at) - at, " ");
  }
  for (const char* part : {"--optim.beta1 X  ", " decay of the mean of the gradients (0.9: adamw, dct_adamw, galore, muon, precgd, ",
                           "shampoo; 0.95: soap)\n", "peak learning rate (0.001: adamw, precgd, shampoo; 0.003: soap; 0.005: muon; "}) {
    CAPTURE(part);
    CHECK(contains(help, part));
  }
  for (const std::string& name : optim::optimizer_names()) {
    for (const auto& [key, value] : optim::default_settings(name)) {
      CAPTURE(name, key);
      const std::string own = setting_help(key);
      CHECK(contains(help, own));
      const std::string defaults = own.substr(own.rfind('(') + 1, own.size() - own.rfind('(') - 2);
      bool told = false;
      for (const std::string& part : split(defaults, ';')) {
        const std::string beginning = concat(value, ": ");
        if (!part.starts_with(beginning)) continue;
        const std::vector<std::string> names = split(part.substr(beginning.size()), ',');
        told = std::ranges::find(names, name) != names.end();
      }
      CHECK(told);
    }
  }
}

TEST_CASE("data that were found are kept in the config, and a run that goes on or is repeated does not look for others") {
  const TemporaryFolder folder;
  const std::string config = (folder.path() / "config.json").string();
  OrderedJson resolved;
  const auto data_of = [&](std::vector<const char*> arguments, const Found& downloaded) {
    return parse_training(std::move(arguments), &resolved, downloaded).data;
  };
  const std::filesystem::path found = std::filesystem::absolute("downloads/cifar10"), mine = std::filesystem::absolute("mine");
  CHECK(data_of({}, {}).empty());
  write_json(config, resolved);
  CHECK(data_of({}, "downloads/cifar10") == found);
  CHECK(resolved.at("data") == found.string());
  CHECK(data_of({"--data", "mine"}, "downloads/cifar10") == mine);
  CHECK(resolved.at("data") == mine.string());
  CHECK(data_of({"--resume"}, "downloads/cifar10").empty());
  CHECK(data_of({"--config", config.c_str()}, "downloads/cifar10").empty());
  CHECK(data_of({"--config", config.c_str(), "--data", "mine"}, "downloads/cifar10") == mine);
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
  CHECK(contains(error_of([] { parse_training({"--layer-at", "qkv"}); }), "--layer-at needs --layer"));
  CHECK(contains(error_of([] { parse_training({"--resume", "--no-save"}); }), "--no-save leaves no checkpoint and --resume"));
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "");
  const std::string out = folder.path().string(), model = (folder / "model.safetensors").string();
  CHECK(contains(error_of([&] { parse_training({"--out", out.c_str(), "--overwrite", "--init-from", model.c_str()}); }),
                 "is a file that --overwrite would remove; give another --out"));
  CHECK(parse_training({"--out", "elsewhere", "--overwrite", "--init-from", model.c_str()}).init_from == model);
  const auto resume = [&] { return parse_training({"--out", out.c_str(), "--resume", "--init-from", model.c_str()}); };
  CHECK(contains(error_of(resume), "did not begin, exclude each other; give one of them"));
  write_json(folder / "config.json", {{"init_from", "other"}});
  CHECK(contains(error_of(resume), "did not begin, exclude each other"));
  write_json(folder / "config.json", {{"init_from", model}});
  CHECK(resume().init_from == model);

  CHECK(contains(error_of([] { parse_training({"--no-save", "--keep-best"}); }), "--no-save leaves no weights and --keep-best"));
  CHECK(contains(error_of([] { parse_training({"--keep-best"}); }), "--keep-best chooses among evaluations, and there is one"));
  const auto keep_best = [&] { return parse_training({"--out", out.c_str(), "--resume", "--keep-best", "--eval-every", "1"}); };
  CHECK(contains(error_of(keep_best), "--resume and --keep-best, with which the run did not begin, exclude each other"));
  write_json(folder / "config.json", {{"keep_best", true}});
  CHECK(keep_best().keep_best);
}

TEST_CASE("one switch scales the learning rates of factors, and the resolved config records it") {
  OrderedJson resolved;
  CHECK_FALSE(parse_training({}, &resolved).lr_scale);
  CHECK(resolved["lr_scale"] == false);
  CHECK(parse_training({"--lr-scale"}, &resolved).lr_scale);
  CHECK(resolved["lr_scale"] == true);
}
