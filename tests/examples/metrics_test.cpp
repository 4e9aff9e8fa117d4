// metrics.jsonl.
#include "examples/support/metrics.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/examples/json_lines.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

std::vector<std::string> keys(const Json& line) {
  std::vector<std::string> names;
  for (const auto& [key, value] : line.items()) names.push_back(key);
  return names;
}

TrainEvent train_at(std::int64_t step) {
  TrainEvent event;
  event.step = step;
  event.loss = 1.0 / static_cast<double>(step);
  return event;
}

EvalEvent eval_at(std::int64_t step) {
  return {.step = step, .split = "test", .score = {.accuracy = 0.5}};
}

}  // namespace

TEST_CASE("metrics have the fields of the contract") {
  const TemporaryFolder folder;
  {
    Metrics metrics(folder / "m", Unit::sample);
    metrics.write(ModelEvent{1, 2, 3, 4, 5, "cpu", "f32", 2});
    metrics.write(TrainEvent{1, 2, 3, 4, 5, 6, 7, 8});
    TrainEvent train = train_at(2);
    train.flops_utilisation = 0.5;
    metrics.write(train);
    metrics.write(eval_at(1));
    metrics.write(EndEvent{1, 2, 3, "steps"});
    CHECK(json_lines(folder / "m").size() == 5);  // each line is in the file before the file is closed
  }
  const auto lines = json_lines(folder / "m");
  using Keys = std::vector<std::string>;
  CHECK(keys(lines[0]) == Keys{"build", "dense_linear_parameters", "dense_macs_per_sample", "device", "dtype", "event",
                               "linear_parameters", "macs_per_sample", "parameters", "threads"});
  CHECK(lines[2]["flops_utilisation"] == 0.5);
  Json model = lines[0];
  model.erase("build");
  CHECK(model == Json{{"event", "model"}, {"parameters", 1}, {"linear_parameters", 2}, {"dense_linear_parameters", 3},
                      {"macs_per_sample", 4}, {"dense_macs_per_sample", 5}, {"device", "cpu"}, {"dtype", "f32"}, {"threads", 2}});
  CHECK(lines[1] == Json{{"event", "train"}, {"step", 1}, {"epoch", 2}, {"loss", 3}, {"lr", 4}, {"grad_norm", 5},
                         {"samples_per_s", 6}, {"elapsed", 7}, {"flops_utilisation", 8}});
  CHECK(lines[4] == Json{{"event", "end"}, {"steps", 1}, {"elapsed", 2}, {"peak_memory_bytes", 3}, {"stopped_by", "steps"}});
  CHECK(keys(lines[3]) == Keys{"accuracy", "event", "loss", "split", "step"});

  Metrics text(folder / "t", Unit::token);
  text.write(ModelEvent{});
  text.write(train_at(1));
  text.write(EvalEvent{.split = "valid", .score = {.perplexity = 20, .word_perplexity = 40}});
  const auto tokens = json_lines(folder / "t");
  CHECK(tokens[0].contains("macs_per_token"));
  CHECK(tokens[0].contains("dense_macs_per_token"));
  CHECK(tokens[1].contains("tokens_per_s"));
  CHECK(keys(tokens[2]) == Keys{"event", "loss", "perplexity", "split", "step", "word_perplexity"});
}

TEST_CASE("metrics stay JSON when a loss is not a number, and keep every digit of one that is") {
  const TemporaryFolder folder;
  Metrics metrics(folder / "m", Unit::sample);
  TrainEvent event = train_at(1);
  event.loss = std::numeric_limits<double>::quiet_NaN();
  event.grad_norm = std::numeric_limits<double>::infinity();
  event.lr = 0.1 + 0.2;
  metrics.write(event);
  const Json line = json_lines(folder / "m")[0];
  CHECK(line["loss"].is_null());
  CHECK(line["grad_norm"].is_null());
  CHECK(line["lr"].get<double>() == 0.1 + 0.2);
}

TEST_CASE("an evaluation whose split is no text does not keep a run from being resumed") {
  const TemporaryFolder folder;
  write_file(folder / "m", "{\"event\":\"eval\",\"step\":1,\"split\":7}\n");
  const Metrics metrics(folder / "m", Unit::sample, 2);
  CHECK(read_file(folder / "m").ends_with("7}\n"));
}

TEST_CASE("resumed metrics go on after the step of the checkpoint") {
  const TemporaryFolder folder;
  {
    Metrics metrics(folder / "m", Unit::sample);
    metrics.write(ModelEvent{7, 0, 0, 0, 0, "cpu", "f32", 1});
    for (const std::int64_t step : {1, 2, 3, 4}) metrics.write(train_at(step));
    metrics.write(eval_at(2));
    metrics.write(eval_at(4));
    metrics.write(EndEvent{4, 1, 1, "signal"});
  }
  write_file(folder / "m", read_file(folder / "m") + "{\"event\":\"train\",\"st");  // cut off by a crash
  {
    Metrics metrics(folder / "m", Unit::sample, 2);
    CHECK((metrics.evaluated("test", 2) && !metrics.evaluated("test", 4)));
    metrics.write(ModelEvent{8, 0, 0, 0, 0, "cpu", "f32", 1});
    metrics.write(train_at(3));
  }
  std::vector<std::string> events;
  for (const Json& line : json_lines(folder / "m")) {
    events.push_back(concat(line["event"].get<std::string>(), " ", line.value("step", 0)));
  }
  CHECK(events == std::vector<std::string>{"model 0", "train 1", "train 2", "eval 2", "train 3"});
  CHECK(json_lines(folder / "m")[0]["parameters"] == 7);

  Metrics fresh(folder / "m", Unit::sample);
  CHECK(read_file(folder / "m").empty());
  CHECK(!fresh.evaluated("test", 7));
  fresh.write(eval_at(7));
  CHECK(fresh.evaluated("test", 7));
  Metrics missing(folder / "other", Unit::sample, 5);
  missing.write(ModelEvent{});
  CHECK(json_lines(folder / "other").size() == 1);
}
