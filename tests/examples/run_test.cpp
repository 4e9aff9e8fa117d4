// What surrounds a training loop: limits, metrics, progress, the folder of a run.
#include <signal.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "core/files.h"
#include "data/bpe_trainer.h"
#include "examples/support/evaluate.h"
#include "examples/support/metrics.h"
#include "examples/support/progress.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "examples/support/system.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::testing;

namespace {

// A clock that the test moves.
struct TestClock {
  double now = 1000;
  Clock clock() {
    return [this] { return now; };
  }
};

std::vector<Json> lines_of(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

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
  EvalEvent event;
  event.step = step;
  event.split = "test";
  event.accuracy = 0.5;
  return event;
}

}  // namespace

TEST_CASE("a run of steps ends after them and its progress is the fraction of the steps") {
  TestClock time;
  RunLimits limits(10, std::nullopt, 0, time.clock());
  std::int64_t step = 0;
  for (; limits.stop_before(step).empty(); ++step, time.now += 2) CHECK(limits.progress(step) == Approx(0.1 * double(step)));
  CHECK(step == 10);
  CHECK(limits.stopped_by() == "steps");
  CHECK(limits.progress(10) == 1);
  CHECK(limits.elapsed() == Approx(20));
}

TEST_CASE("a run of minutes ends with them and its progress ends at one") {
  for (const double step_seconds : {0.7, 1.0, 7.0, 25.0}) {
    TestClock time;
    RunLimits limits(std::nullopt, 1, 0, time.clock());
    double last = 0;
    std::int64_t step = 0;
    for (; limits.stop_before(step).empty(); ++step, time.now += step_seconds) {
      const double progress = limits.progress(step);
      CHECK(progress == Approx(step_seconds * double(step) / 60));
      last = progress;
    }
    INFO("steps of " << step_seconds);
    CHECK(limits.stopped_by() == "minutes");
    CHECK(std::abs(limits.elapsed() - 60) <= step_seconds / 2 + 1e-9);
    CHECK(last >= 1 - 1.5 * step_seconds / 60 - 1e-9);
  }
}

TEST_CASE("the limit that comes first decides, and progress never falls") {
  TestClock time;
  RunLimits by_steps(5, 10, 0, time.clock());
  CHECK(by_steps.stop_before(4).empty());
  CHECK(by_steps.progress(4) == Approx(0.8));
  CHECK(by_steps.stop_before(5) == "steps");

  RunLimits by_time(1000, 1, 0, time.clock());
  CHECK(by_time.stop_before(0).empty());
  time.now += 30;
  CHECK(by_time.stop_before(1).empty());
  CHECK(by_time.progress(1) == Approx(0.5));
  CHECK(by_time.seconds_left(1) == Approx(30));
  CHECK(by_time.total_steps(1) == 2);
  time.now += 31;
  CHECK(by_time.stop_before(2) == "minutes");
  CHECK(by_time.progress(2) == 1);
  time.now -= 40;
  CHECK(by_time.progress(2) == 1);
}

TEST_CASE("a resumed run counts the time that it has trained") {
  TestClock time;
  RunLimits limits(std::nullopt, 1, 45, time.clock());
  CHECK(limits.stop_before(100).empty());
  CHECK(limits.elapsed() == Approx(45));
  CHECK(limits.progress(100) == Approx(0.75));
  time.now += 16;
  CHECK(limits.stop_before(101) == "minutes");
  // Its time is over already: no step more.
  RunLimits over(std::nullopt, 1, 61, time.clock());
  CHECK(over.stop_before(200) == "minutes");
}

TEST_CASE("a new run does one step, however short its time; a run without an end is refused") {
  TestClock time;
  RunLimits limits(std::nullopt, 1e-9, 0, time.clock());
  time.now += 1;
  CHECK(limits.stop_before(0).empty());
  CHECK(limits.stop_before(1) == "minutes");
  CHECK(contains(error_of([] { RunLimits(std::nullopt, std::nullopt); }), "--minutes"));
}

TEST_CASE("the time left is estimated from the steps of this session") {
  TestClock time;
  RunLimits limits(110, std::nullopt, 500, time.clock());
  limits.stop_before(10);
  CHECK(limits.seconds_left(10) == std::numeric_limits<double>::infinity());
  time.now += 20;
  CHECK(limits.seconds_left(20) == Approx(180));
  CHECK(limits.total_steps(20) == 110);
}

TEST_CASE("a signal stops the run after the step") {
  const SignalGuard guard;
  RunLimits limits(10, std::nullopt);
  CHECK(limits.stop_before(0).empty());
  ::raise(SIGTERM);
  CHECK(limits.stop_before(1) == "signal");
}

TEST_CASE("without a guard signals mean what they meant, and a second one is not caught") {
  struct sigaction before {}, action {};
  ::sigaction(SIGINT, nullptr, &before);
  { const SignalGuard guard; }
  ::sigaction(SIGINT, nullptr, &action);
  CHECK(action.sa_handler == before.sa_handler);
  const SignalGuard guard;
  CHECK_FALSE(SignalGuard::received());
  ::raise(SIGINT);
  CHECK(SignalGuard::received());
  for (const int other : {SIGINT, SIGTERM, SIGHUP}) {
    ::sigaction(other, nullptr, &action);
    CHECK(action.sa_handler == SIG_DFL);
  }
}

TEST_CASE("a closed terminal stops the run after the step, unless that is ignored; a closed pipe never does") {
  {
    const SignalGuard guard;
    ::raise(SIGPIPE);
    CHECK_FALSE(SignalGuard::received());
    ::raise(SIGHUP);
    CHECK(SignalGuard::received());
  }
  struct sigaction before {};
  ::sigaction(SIGHUP, nullptr, &before);
  ::signal(SIGHUP, SIG_IGN);
  {
    const SignalGuard guard;
    ::raise(SIGHUP);
    CHECK_FALSE(SignalGuard::received());
    ::raise(SIGTERM);
    struct sigaction action {};
    ::sigaction(SIGHUP, nullptr, &action);
    CHECK(action.sa_handler == SIG_IGN);
  }
  ::sigaction(SIGHUP, &before, nullptr);
}

TEST_CASE("a part of a text is evaluated to the window, whatever the batch") {
  data::TextDataset text;
  text.valid = std::string(161, 'a');
  const data::Tokenizer tokenizer = data::train_bpe("b", 257);  // a token for each byte
  for (const auto& [limit, predictions] : {std::pair<Dim, Dim>{0, 160}, {1, 16}, {3, 48}, {10, 160}, {11, 160}}) {
    CHECK(validation_split(text, tokenizer, 4, 16, limit).windows.predictions() == predictions);
  }
  text.valid.resize(168, 'a');  // ten windows and a half
  CHECK(validation_split(text, tokenizer, 4, 16, 10).windows.predictions() == 160);
  CHECK(validation_split(text, tokenizer, 4, 16, 11).windows.predictions() == 167);
}

TEST_CASE("metrics have the fields of the contract") {
  const TemporaryFolder folder;
  {
    Metrics metrics(folder / "m", Unit::sample);
    metrics.write(ModelEvent{1, 2, 3, 4, 5, "cpu", "f32", 2});
    metrics.write(train_at(1));
    TrainEvent train = train_at(2);
    train.flops_utilisation = 0.5;
    metrics.write(train);
    metrics.write(eval_at(1));
    metrics.write(EndEvent{1, 2, 3, "steps"});
    CHECK(lines_of(folder / "m").size() == 5);  // each line is in the file before the file is closed
  }
  const auto lines = lines_of(folder / "m");
  using Keys = std::vector<std::string>;
  CHECK(keys(lines[0]) == Keys{"build", "dense_linear_parameters", "dense_macs_per_sample", "device", "dtype", "event",
                               "linear_parameters", "macs_per_sample", "parameters", "threads"});
  CHECK(keys(lines[1]) == Keys{"elapsed", "epoch", "event", "flops_utilisation", "grad_norm", "loss", "lr", "samples_per_s",
                               "step"});
  CHECK(lines[2]["flops_utilisation"] == 0.5);
  CHECK(keys(lines[3]) == Keys{"accuracy", "event", "loss", "split", "step"});
  CHECK(keys(lines[4]) == Keys{"elapsed", "event", "peak_memory_bytes", "steps", "stopped_by"});

  Metrics text(folder / "t", Unit::token);
  text.write(ModelEvent{});
  text.write(train_at(1));
  EvalEvent eval;
  eval.perplexity = 20;
  eval.word_perplexity = 40;
  text.write(eval);
  const auto tokens = lines_of(folder / "t");
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
  const Json line = lines_of(folder / "m")[0];
  CHECK(line["loss"].is_null());
  CHECK(line["grad_norm"].is_null());
  CHECK(line["lr"].get<double>() == 0.1 + 0.2);
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
    CHECK(metrics.evaluated_at() == 2);
    metrics.write(ModelEvent{8, 0, 0, 0, 0, "cpu", "f32", 1});
    metrics.write(train_at(3));
  }
  std::vector<std::string> events;
  for (const Json& line : lines_of(folder / "m")) {
    events.push_back(concat(line["event"].get<std::string>(), " ", line.value("step", 0)));
  }
  CHECK(events == std::vector<std::string>{"model 0", "train 1", "train 2", "eval 2", "train 3"});
  CHECK(lines_of(folder / "m")[0]["parameters"] == 7);

  Metrics fresh(folder / "m", Unit::sample);
  CHECK(read_file(folder / "m").empty());
  CHECK(fresh.evaluated_at() == -1);
  fresh.write(eval_at(7));
  CHECK(fresh.evaluated_at() == 7);
  Metrics missing(folder / "other", Unit::sample, 5);
  missing.write(ModelEvent{});
  CHECK(lines_of(folder / "other").size() == 1);
}

TEST_CASE("on a terminal the bar redraws itself at most ten times a second and leaves no trace") {
  TestClock time;
  std::ostringstream out;
  {
    Progress progress(out, true, 80, Unit::sample, time.clock());
    for (int i = 0; i < 100; ++i, time.now += 0.01) progress.update({i, 100, i / 100.0, 1.5, 1e-3, 812, 1, 272});
    const std::string text = out.str();
    CHECK(std::ranges::count(text, '\r') == 10);
    CHECK_FALSE(contains(text, "\n"));
    CHECK(contains(text, "step 0/100  ["));
    CHECK(contains(text, "loss 1.5000  812 samples/s  4:32 left"));
    for (std::size_t at = text.find('\r'); at != std::string::npos;) {
      const std::size_t end = text.find("\x1b[K", at);
      CHECK(end - at - 1 < 80);
      at = text.find('\r', at + 1);
    }
    progress.message("evaluated");
    progress.update({100, 100, 1, 1.5, 1e-3, 812, 1, 0});
    CHECK(contains(out.str(), "\r\x1b[Kevaluated\n\rstep 100/100"));
  }
  CHECK(out.str().ends_with("\r\x1b[K"));
}

TEST_CASE("a narrow terminal gets a shorter line, not two") {
  TestClock time;
  for (const int columns : {1, 10, 40, 60, 200}) {
    std::ostringstream out;
    Progress progress(out, true, columns, Unit::token, time.clock());
    progress.update({1, 1000, 0.5, 1.5, 1e-3, 12345, 1, 4000});
    CHECK(static_cast<int>(out.str().size()) - 4 < columns);
  }
}

TEST_CASE("without a terminal plain lines come at intervals") {
  TestClock time;
  std::ostringstream out;
  {
    Progress progress(out, false, 0, Unit::token, time.clock());
    for (int i = 0; i < 120; ++i, time.now += 0.1) progress.update({i, 120, 0, 2.25, 1e-3, 5000, 0.1 * i, 60});
    progress.message("evaluated");
  }
  const std::string text = out.str();
  CHECK(std::ranges::count(text, '\n') == 4);
  CHECK_FALSE(contains(text, "\r"));
  CHECK_FALSE(contains(text, "\x1b"));
  CHECK(contains(text, "step 50/120  loss 2.2500  lr 0.001  5000 tokens/s  elapsed 0:05  left 1:00\n"));
}

TEST_CASE("durations and counts are short") {
  CHECK(format_duration(0) == "0:00");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(3600 + 61) == "1:01:01");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(format_count(0) == "0");
  CHECK(format_count(7) == "7");
  CHECK(format_count(8.123) == "8.12");
  CHECK(format_count(81.23) == "81.2");
  CHECK(format_count(8123.4) == "8123");
  CHECK(format_count(81234) == "81.2k");
  CHECK(format_count(999'600) == "1.00M");
  CHECK(format_count(124'439'808) == "124M");
  CHECK(format_count(std::nan("")) == "?");
}

TEST_CASE("a fresh run spares an earlier one, an overwriting run clears it, a resumed run needs its checkpoint") {
  const TemporaryFolder folder;
  const auto root = folder / "runs/a";
  const RunFolder run{root};
  const auto begin = [&](RunStart start, const OrderedJson& config) {
    const FolderLock lock = run.hold(start);
    run.begin(start, config);
  };
  CHECK(contains(error_of([&] { begin(RunStart::resume, {}); }), "there is no checkpoint"));
  CHECK_FALSE(std::filesystem::exists(root));

  begin(RunStart::fresh, {{"lr", 1}});
  CHECK(read_json(run.config())["lr"] == 1);
  make_writable_folder(run.checkpoint().parent_path());
  for (const auto& path : {run.checkpoint(), run.metrics(), run.model(), run.report()}) write_file(path, "x");
  begin(RunStart::resume, {{"lr", 2}});
  CHECK(read_json(run.config())["lr"] == 2);
  CHECK(std::filesystem::exists(run.checkpoint()));
  CHECK(std::filesystem::exists(run.metrics()));
  CHECK(contains(error_of([&] { begin(RunStart::fresh, {{"lr", 3}}); }),
                 "holds the checkpoint of an earlier run; --resume goes on from it, --overwrite replaces the run"));
  CHECK(read_json(run.config())["lr"] == 2);
  CHECK(std::filesystem::exists(run.checkpoint()));
  begin(RunStart::overwrite, {{"lr", 3}});
  for (const auto& path : {run.checkpoint(), run.metrics(), run.model(), run.report()}) {
    CHECK_FALSE(std::filesystem::exists(path));
  }
  write_file(folder / "file", "x");
  CHECK(contains(error_of([&] { RunFolder{folder / "file"}.hold(RunStart::fresh); }), "cannot write to folder"));
}

TEST_CASE("a fresh run spares weights and metrics without a checkpoint too, and one that goes on") {
  const TemporaryFolder folder;
  const RunFolder run{folder.path()};
  for (const auto& file : {run.model(), run.metrics()}) {
    write_file(file, "x");
    CHECK(contains(error_of([&] { run.check(RunStart::fresh); }), "holds " + file.filename().string()));
    run.check(RunStart::overwrite);
    CHECK(run.replaces(folder / "../" / folder.path().filename() / file.filename()));
    std::filesystem::remove(file);
  }
  write_file(run.config(), "x");
  run.check(RunStart::fresh);
  CHECK_FALSE(run.replaces(run.config()));
  const FolderLock lock = run.hold(RunStart::fresh);
  for (const RunStart start : {RunStart::fresh, RunStart::overwrite}) {
    CHECK(contains(error_of([&] { run.check(start); }), "another program is at work in it"));
    CHECK(contains(error_of([&] { run.hold(start); }), "another program is at work in it"));
  }
}

TEST_CASE("the name of a run is that of its folder, however its path ends") {
  for (const char* path : {"runs/a", "runs/a/", "runs/a/.", "/runs/b/../a//"}) CHECK(RunFolder{path}.name() == "a");
  CHECK(RunFolder{"."}.name() == std::filesystem::current_path().filename());
}

TEST_CASE("the start-up line names the machine and the build") {
  const std::string line = startup_line("train_vit", "cpu", 2, "f32");
  CHECK(contains(line, "train_vit: cpu, 2 threads, f32, " + instruction_set()));
  CHECK(contains(line, build_description()));
  CHECK(contains(startup_line("x", "cpu", 1, "f32"), "1 thread,"));
  CHECK_FALSE(git_revision().empty());
}
