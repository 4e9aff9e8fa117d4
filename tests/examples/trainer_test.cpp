// The training loop.
#include "examples/support/trainer.h"

#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "autograd/ops.h"
#include "core/allocator.h"
#include "core/files.h"
#include "examples/support/run_record.h"
#include "examples/support/step_runner.h"
#include "examples/support/system.h"
#include "layers/weights.h"
#include "tests/examples/json_lines.h"
#include "tests/examples/small_net.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

using Arguments = std::vector<std::string>;

// Trains in `out`, an epoch being `steps_per_epoch` steps. `during` is called within every evaluation, `in_step` before the
// loss of every batch; `judged` is the loss of the evaluation after so many batches, its accuracy the first of the weights.
void run(const std::filesystem::path& out, const Arguments& arguments, const std::function<void()>& during = [] {},
         double steps_per_epoch = 1, const std::function<void(std::int64_t batch)>& in_step = [](std::int64_t) {},
         const std::function<double(std::int64_t batches)>& judged = [](std::int64_t) { return 1.0; }, ModelEvent event = {}) {
  TrainingOptions values;
  Options options("train", "Trains.");
  add_training_options(options, values, "the data");
  std::vector<const char*> words{"train", "--out", out.c_str()};
  for (const std::string& argument : arguments) words.push_back(argument.c_str());
  REQUIRE(options.parse(static_cast<int>(words.size()), words.data()));

  SmallNet net(Scope::root(DType::f32, 1));
  std::int64_t batches = 0;
  const auto evaluation = [&](const std::string& split) {
    return Evaluation{split, [&](const EvalProgress& progress) {
      progress(0, 2);
      during();
      progress(1, 2);
      const double first = net.fc.map().parameters()[0].tensor.value().to_vector<double>()[0];  // tells which weights these are
      return Score{.loss = judged(batches), .accuracy = first};
    }};
  };
  const TrainingTask task{
      .program = "train",
      .model = net,
      .event = event,
      .units_per_step = 8,
      .steps_per_epoch = steps_per_epoch,
      .batch = [&](std::int64_t index) {
        const auto seed = static_cast<std::uint64_t>(index);
        in_step(index);
        batches = index + 1;
        return Batch{{randn({8, 5}, DType::f32, seed), random_ids({8}, 4, seed)}, 8};
      },
      .loss = [&](const Batch& b) { return F::cross_entropy(net.fc(Tensor(b.arrays[0])), {.target = b.arrays[1]}); },
      .evaluations = {evaluation("valid"), evaluation("test")},
      .save_model = [&](const RunFolder& folder) { save_weights(folder.model(), net); },
      .load_model = [&](const RunFolder& folder) { load_weights(folder.model(), net); },
  };
  train(task, values, options.resolved());
}

// The lines of metrics.jsonl in short: "train 2, valid 2, test 2, end steps".
std::string story(const std::filesystem::path& out) {
  std::string text;
  for (const Json& event : json_lines(RunFolder{out}.metrics())) {
    const std::string kind = event.at("event");
    if (kind == "model") continue;
    text += text.empty() ? "" : ", ";
    if (kind == "train") text += concat("train ", event.at("step").get<int>());
    if (kind == "eval") text += concat(event.at("split").get<std::string>(), ' ', event.at("step").get<int>());
    if (kind == "end") text += "end " + event.at("stopped_by").get<std::string>();
  }
  return text;
}

// How often something is put into a folder by renaming it, from the making of this on.
class Arrivals {
 public:
  // Alike events that follow each other would be told as one: the making of the file before it is renamed keeps them apart.
  explicit Arrivals(const std::filesystem::path& folder) {
    ::inotify_add_watch(queue_, folder.c_str(), IN_CREATE | IN_MOVED_TO);
  }
  ~Arrivals() { ::close(queue_); }
  Arrivals(const Arrivals&) = delete;
  Arrivals& operator=(const Arrivals&) = delete;

  int count() const {
    alignas(inotify_event) std::array<char, 4096> events{};
    const ssize_t size = ::read(queue_, events.data(), events.size());
    int found = 0;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
      found += (event->mask & IN_MOVED_TO) != 0;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
    return found;
  }

 private:
  const int queue_ = ::inotify_init1(IN_NONBLOCK);
};

void interrupt() { ::raise(SIGTERM); }

}  // namespace

TEST_CASE("the last step is logged, the first split is followed, and all are evaluated at the end") {
  const TemporaryFolder folder;
  run(folder / "run", {"--steps", "5", "--log-every", "2", "--eval-every", "2"});
  CHECK(story(folder / "run") == "train 1, train 2, valid 2, train 4, valid 4, train 5, valid 5, test 5, end steps");
}

TEST_CASE("each step is told with its place in the epoch, its learning rate and the norm of its gradient") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  run(out, {"--steps", "4", "--log-every", "1", "--lr", "1", "--warmup", "0.5", "--final-lr", "0.2", "--decay", "linear", "--ema",
            "0.9"},
      [] {}, 8);
  std::vector<double> rates, epochs;
  for (const Json& event : json_lines(RunFolder{out}.metrics())) {
    if (event["event"] == "end") CHECK(event["steps"] == 4);
    if (event["event"] != "train") continue;
    rates.push_back(event["lr"]);
    epochs.push_back(event["epoch"]);
    CHECK(event["grad_norm"] > 0);
  }
  CHECK(rates == std::vector<double>{0.5, 1, 1, 0.6});
  CHECK(epochs == std::vector<double>{0.125, 0.25, 0.375, 0.5});
}

TEST_CASE("a rate is that of training, without evaluations and checkpoints") {
  const TemporaryFolder folder;
  static constexpr auto kPause = std::chrono::milliseconds(50);
  run(folder / "run", {"--steps", "4", "--log-every", "1", "--eval-every", "1", "--checkpoint-every", "1"},
      [] { std::this_thread::sleep_for(kPause); });
  run(folder / "plain", {"--steps", "4", "--log-every", "1"}, [] {}, 1, [](std::int64_t) { std::this_thread::sleep_for(kPause); });
  const auto told = [&](const char* name) {
    std::vector<double> rates;
    for (const Json& event : json_lines(RunFolder{folder / name}.metrics())) {
      if (event["event"] == "train") rates.push_back(event["samples_per_s"]);
    }
    return rates;
  };
  const double slowest = 8 / std::chrono::duration<double>(kPause).count();
  for (const double rate : told("plain")) CHECK((rate > 0.2 * slowest && rate <= slowest));
  const std::vector<double> rates = told("run");
  CHECK(*std::max_element(rates.begin() + 1, rates.end()) > 2 * slowest);  // before the first there was no pause
}

TEST_CASE("utilisation is six operations a MAC and step, of those of a large product, and the end tells the most memory in use") {
  const TemporaryFolder folder;
  ModelEvent event;
  event.macs = 1'000'000;
  // The product is timed twice, by the run and here, on a machine that may be busy meanwhile.
  double ratio = 0;
  for (int trial = 0; trial < 10 && !(ratio > 4.5 && ratio < 8); ++trial) {
    run(folder / concat(trial), {"--steps", "1"}, [] {}, 1, [](std::int64_t) {}, [](std::int64_t) { return 1.0; }, event);
    const double peak = static_cast<double>(allocator().stats().peak);
    const std::vector<Json> events = json_lines(RunFolder{folder / concat(trial)}.metrics());
    REQUIRE(events.at(1)["event"] == "train");
    const double used = events[1]["flops_utilisation"], rate = events[1]["samples_per_s"];
    ratio = used * measured_matmul_rate({}, DType::f32) / (static_cast<double>(event.macs) * rate);
    CHECK(events.back()["peak_memory_bytes"] == peak);
  }
  CHECK(ratio > 4.5);
  CHECK(ratio < 8);
}

TEST_CASE("a signal ends an evaluation, and the run can be resumed for it") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  run(out, {"--steps", "2"}, interrupt);
  CHECK(story(out) == "train 1, train 2, end signal");
  CHECK(std::filesystem::exists(RunFolder{out}.checkpoint()));
  // One split is evaluated, then the signal comes.
  int evaluations = 0;
  run(out, {"--steps", "2", "--resume"}, [&] {
    if (++evaluations == 2) interrupt();
  });
  CHECK(story(out) == "train 1, train 2, valid 2, end signal");
  run(out, {"--steps", "2", "--resume"});
  CHECK(story(out) == "train 1, train 2, valid 2, test 2, end steps");
}

TEST_CASE("an evaluation that was due when a signal came is made up for when the run goes on") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  const auto stop_in = [](std::int64_t last) {
    return [last](std::int64_t batch) {
      if (batch == last) interrupt();
    };
  };
  run(out, {"--steps", "5", "--eval-every", "2", "--log-every", "1"}, [] {}, 1, stop_in(1));
  CHECK(story(out) == "train 1, train 2, end signal");
  run(out, {"--resume"});
  CHECK(story(out) == "train 1, train 2, valid 2, train 3, train 4, valid 4, train 5, valid 5, test 5, end steps");
}

TEST_CASE("a checkpoint that the last step has left is not written again") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  const std::filesystem::path checkpoints = RunFolder{out}.checkpoint().parent_path();
  std::filesystem::create_directories(checkpoints);
  const Arrivals arrivals(checkpoints);
  run(out, {"--steps", "4", "--checkpoint-every", "2"});
  CHECK(arrivals.count() == 2);
  run(out, {"--resume", "--steps", "5"});
  CHECK(arrivals.count() == 1);
}

TEST_CASE("a checkpoint is written when enough time has gone by since the last one") {
  const TemporaryFolder folder;
  const auto saved_by_step = [&](const std::string& name, Arguments arguments) {
    const auto out = folder / name;
    std::vector<bool> saved;
    for (const char* word : {"--steps", "3"}) arguments.emplace_back(word);
    run(out, arguments, [] {}, 1, [&](std::int64_t) { saved.push_back(std::filesystem::exists(RunFolder{out}.checkpoint())); });
    return saved;
  };
  CHECK(saved_by_step("a", {"--checkpoint-minutes", "1e-9"}) == std::vector<bool>{false, true, true});
  CHECK(saved_by_step("b", {"--checkpoint-minutes", "0"}) == std::vector<bool>{false, false, false});
  CHECK(saved_by_step("c", {}) == std::vector<bool>{false, false, false});  // ten minutes have not gone by
  CHECK(saved_by_step("d", {"--checkpoint-minutes", "1e-9", "--no-save"}) == std::vector<bool>{false, false, false});
}

TEST_CASE("the weights of the best evaluation are left if that is asked for") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  const auto model = [](const std::filesystem::path& of) { return read_file(RunFolder{of}.model()); };
  const auto judged = [](std::int64_t batches) {
    const std::map<std::int64_t, double> losses{{2, NAN}, {4, 0.5}, {6, 0.6}, {8, NAN}, {10, 0.4}};
    return losses.at(batches);
  };
  const auto train = [&](const std::filesystem::path& to, Arguments arguments,
                         const std::function<void(std::int64_t)>& in_step = [](std::int64_t) {}) {
    for (const char* word : {"--decay", "constant", "--warmup", "0", "--eval-every", "2", "--ema", "0.5"}) arguments.emplace_back(word);
    run(to, arguments, [] {}, 1, in_step, judged);
  };
  const auto after = [&](const char* steps) {
    train(folder / steps, {"--steps", steps});
    return model(folder / steps);
  };
  const std::string fourth = after("4");
  const auto tested = [](const std::filesystem::path& of) { return read_run("", of).final_eval("test")->accuracy; };
  train(out, {"--steps", "6", "--keep-best"});
  CHECK(model(out) == fourth);
  CHECK(read_run("", out).final_eval()->step == 4);
  CHECK(tested(out) == tested(folder / "4"));  // of the weights that are left
  train(folder / "6", {"--steps", "6"});
  CHECK(tested(out) != tested(folder / "6"));
  train(out, {"--steps", "8", "--resume"});
  CHECK(model(out) == fourth);
  train(out, {"--steps", "10", "--resume"});
  CHECK(model(out) == after("10"));
  CHECK(read_run("", out).final_eval()->step == 10);
  CHECK(read_run("", folder / "10").final_eval()->step == 10);  // the last one, which was not the only one

  // Of equal ones the first is kept.
  run(folder / "equal", {"--steps", "2", "--eval-every", "1", "--keep-best"});
  run(folder / "one", {"--steps", "2", "--eval-every", "1"});
  CHECK(tested(folder / "equal") != tested(folder / "one"));

  // A crash later leaves no weights that the run does not know, from whatever step it goes on.
  const auto crashed = folder / "crashed";
  CHECK_THROWS_WITH(train(crashed, {"--steps", "6", "--keep-best"}, [](std::int64_t batch) {
    if (batch == 5) throw Error("crash");
  }), "crash");
  CHECK(model(crashed) == fourth);
  train(crashed, {"--steps", "6", "--resume"}, [](std::int64_t batch) { CHECK(batch >= 4); });
  CHECK(model(crashed) == fourth);
  CHECK(read_run("", crashed).final_eval()->step == 4);

  // Before there is an evaluation the last weights are the best that are known.
  const auto early = folder / "early";
  train(early, {"--steps", "2", "--keep-best"}, [](std::int64_t batch) {
    if (batch == 0) interrupt();
  });
  CHECK(story(early) == "train 1, end signal");
  CHECK(std::filesystem::exists(RunFolder{early}.model()));
}

TEST_CASE("an epoch has no step more for the rounding of its quotient") {
  const TemporaryFolder folder;
  run(folder / "run", {"--epochs", "100", "--log-every", "1000"}, [] {}, 1.1);  // 1.1 * 100 is 110.00000000000001
  CHECK(story(folder / "run") == "train 1, train 110, valid 110, test 110, end steps");
  run(folder / "more", {"--epochs", "3"}, [] {}, 1.5);
  CHECK(contains(story(folder / "more"), "train 5, valid 5"));
  run(folder / "part", {"--epochs", "0.25"}, [] {}, 10);
  CHECK(contains(story(folder / "part"), "train 3, valid 3"));
  run(folder / "least", {"--epochs", "1e-9"}, [] {}, 10);
  CHECK(contains(story(folder / "least"), "train 1, valid 1"));
}

TEST_CASE("a run that diverges says so in its metrics and its report") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  const std::string error = error_of<Divergence>([&] {
    run(out, {"--steps", "50", "--lr", "1e30", "--optimizer", "sgd", "--clip", "0", "--warmup", "0", "--log-every", "1"});
  });
  CHECK(contains(error, "lower --lr, or raise --warmup"));
  CHECK(contains(story(out), "end divergence"));
  CHECK(contains(read_file(RunFolder{out}.report()), "divergence"));
}
