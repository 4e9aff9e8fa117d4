// The report: what is read back from runs, the charts, the page.
#include "examples/support/report.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "examples/support/chart.h"
#include "examples/support/run_record.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// A run of 40 reported steps, 2 s each, with an evaluation every 10.
void write_run(const std::filesystem::path& folder, Unit unit, bool finished = true) {
  make_writable_folder(folder);
  write_json(folder / "config.json", {{"lr", 0.001}, {"data", "a<b>&\"c\""}, {"linear", {{"qkv", "dense"}}}});
  Metrics metrics(folder / "metrics.jsonl", unit);
  metrics.write(ModelEvent{5000, 4000, 8000, 100, 200, "cpu", "f32", 2});
  for (std::int64_t step = 10; step <= 400; step += 10) {
    TrainEvent train;
    train.step = step;
    train.loss = step == 200 ? kNone : 3 - 0.005 * static_cast<double>(step);
    train.rate = 800;
    train.elapsed = 2 * static_cast<double>(step) / 10;
    metrics.write(train);
    if (step % 100 != 0) continue;
    Score score{.loss = train.loss + 0.1};
    if (unit == Unit::sample) score.accuracy = 0.001 * static_cast<double>(step);
    else score.perplexity = score.word_perplexity = std::exp(score.loss);
    metrics.write(EvalEvent{step, "test", score});
  }
  if (finished) metrics.write(EndEvent{400, 81, 123 << 20, "steps"});
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("a run is read back with its gaps") {
  const TemporaryFolder folder;
  write_run(folder / "a", Unit::sample);
  write_file(folder / "a/metrics.jsonl", read_file(folder / "a/metrics.jsonl") + "{\"event\":\"tr");
  const RunRecord run = read_run("a", folder / "a");
  CHECK(run.unit == Unit::sample);
  CHECK(run.trains.size() == 40);
  CHECK(run.evals.size() == 4);
  CHECK(std::isnan(run.trains[19].loss));
  CHECK(run.evals[3].accuracy == 0.4);
  CHECK(std::isnan(run.evals[3].perplexity));
  CHECK(run.last_step() == 400);
  CHECK(run.last_elapsed() == 81);
  CHECK(run.median_rate() == 800);
  CHECK(run.final_loss() == Approx(1.025));
  CHECK(run.model_number("parameters") == 5000);
  CHECK(std::isnan(run.model_number("nothing")));
  CHECK(run.elapsed_at(100) == Approx(20));
  CHECK(run.elapsed_at(105) == Approx(21));
  CHECK(run.elapsed_at(5) == Approx(1));
  CHECK(run.elapsed_at(1000) == Approx(80));
}

TEST_CASE("metrics of a wrong type name file, line and key") {
  const TemporaryFolder folder;
  const auto report = [&](const std::string& line) {
    write_file(folder / "metrics.jsonl", "{\"event\":\"train\",\"step\":1,\"loss\":null}\n" + line + "\n");
    return error_of([&] { write_report(folder / "report.html", "x", {read_run("x", folder.path())}); });
  };
  CHECK(report("{}").empty());
  write_file(folder / "config.json", "[]");
  CHECK(report("{}") == (folder / "config.json").string() + ": must be a JSON object");
  write_file(folder / "config.json", "{}");
  const std::pair<const char*, const char*> faults[] = {
      {R"({"event":"eval","step":1,"split":3})", "split': needs a text, got 3"},
      {R"({"event":"eval","split":"test"})", "step': needs a whole number; it is missing"},
      {R"({"event":"train","step":1e300})", "step': needs a whole number, got 1e+300"},
      {R"({"event":"train","step":1,"loss":"x"})", "loss': needs a number, got \"x\""},
      {R"({"event":"end","stopped_by":7})", "stopped_by': needs a text, got 7"},
      {R"({"event":"end","peak_memory_bytes":"x"})", "peak_memory_bytes': needs a number, got \"x\""},
      {R"({"event":"model","threads":"2"})", "threads': needs a whole number, got \"2\""},
      {R"({"event":5})", "event': needs a text, got 5"},
  };
  for (const auto& [line, message] : faults) {
    CAPTURE(line);
    CHECK(report(line) == concat((folder / "metrics.jsonl").string(), " line 2: key '", message));
  }
  for (const char* damage : {R"({"event":"tr)", "[]", ""}) {
    CAPTURE(damage);
    CHECK(report(damage) == (folder / "metrics.jsonl").string() +
                                " line 2 is not a JSON object: the file is damaged; delete the line to do without it");
  }
  write_file(folder / "metrics.jsonl", R"({"event":"train","step":1,"loss":2}
{"event":"tr)");
  CHECK(read_run("x", folder.path()).trains.size() == 1);
}

TEST_CASE("ticks are round, inside the range and neither few nor many") {
  CHECK(axis_ticks(0, 10, 5, false) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(axis_ticks(1, 1000, 6, true) == std::vector<double>{1, 3, 10, 30, 100, 300, 1000});
  CHECK(axis_ticks(1, 1, 5, false).empty());
  constexpr double kMost = std::numeric_limits<double>::max(), kInfinity = std::numeric_limits<double>::infinity();
  for (const bool logarithmic : {false, true}) {
    CHECK(axis_ticks(1, kInfinity, 6, logarithmic).empty());
    CHECK(axis_ticks(1e16, 1e16 + 2, 6, logarithmic).empty());
    CHECK(axis_ticks(std::numeric_limits<double>::denorm_min(), kMost, 6, logarithmic).size() <= 20);
  }
  CHECK(axis_ticks(-kMost, kMost, 6, false).empty());
  CHECK(axis_ticks(0, std::numeric_limits<double>::denorm_min(), 6, false).empty());
  const std::pair<double, double> ranges[] = {{0, 1}, {-3, 7e6}, {0.123, 0.1234}, {1e-9, 2e-9}, {95, 105}, {0.5, 3000},
                                              {1, 1e12}, {20, 30}, {1, 9}};
  for (const auto& [low, high] : ranges) {
    for (const bool logarithmic : {false, true}) {
      if (logarithmic && low <= 0) continue;
      const auto ticks = axis_ticks(low, high, 6, logarithmic);
      INFO(low << " to " << high << (logarithmic ? " logarithmic" : ""));
      CHECK(ticks.size() >= 3);
      CHECK(ticks.size() <= 14);
      for (const double tick : ticks) CHECK((tick >= low - 1e-9 * (high - low) && tick <= high + 1e-9 * (high - low)));
    }
  }
  CHECK(format_tick(0.25, true) == "25%");
  CHECK(format_tick(30000, false) == "30k");
  CHECK(format_tick(2.5e6, false) == "2.5M");
  CHECK(format_tick(1e-17, false) == "0");
}

TEST_CASE("thinning and smoothing keep the mean and skip what is not a number") {
  std::vector<Point> points;
  for (int i = 0; i < 1000; ++i) points.push_back({double(i), 2.0 * i});
  const auto thin = thinned(points, 10);
  REQUIRE(thin.size() == 10);
  CHECK(thin[0].x == Approx(49.5));
  CHECK(thin[9].y == Approx(2 * 949.5));
  CHECK(thinned(points, 5000).size() == 1000);

  const std::vector<Point> rough{{0, 1}, {1, kNone}, {2, 3}, {3, 5}};
  const auto smooth = smoothed(rough, 1);
  CHECK(smooth[0].y == Approx(1));
  CHECK(smooth[1].y == Approx(2));
  CHECK(smooth[2].y == Approx(4));
  CHECK(smooth[3].y == Approx(4));
  CHECK(smoothed(rough, 0)[3].y == 5);
  CHECK(std::isnan(smoothed({{0, kNone}}, 3)[0].y));
}

TEST_CASE("a chart draws gaps as gaps and nothing that is not a number") {
  Chart chart{"T <1>", "x", "y", false, false, {{"a", 0, LineStyle::solid, {{0, 1}, {1, 2}, {2, kNone}, {3, 1}, {4, 2}}}}};
  const std::string svg = render(chart);
  CHECK(contains(svg, "T &lt;1&gt;"));
  CHECK_FALSE(contains(svg, "nan"));
  CHECK_FALSE(contains(svg, "inf"));
  const std::size_t path = svg.find("d=\"M", svg.find("viewBox=\"0 0 640"));
  CHECK(count(svg.substr(path, svg.find("\"/>", path) - path), "M") == 2);

  // Nothing to draw, one point, values that a logarithm does not have, a flat line.
  for (const std::vector<Point>& points :
       {std::vector<Point>{}, std::vector<Point>{{5, 5}}, std::vector<Point>{{0, -1}, {1, 0}},
        std::vector<Point>{{0, 2}, {9, 2}}, std::vector<Point>{{0, std::numeric_limits<double>::infinity()}},
        std::vector<Point>{{0, 2}, {9, 1.7e308}, {1e300, 2}}, std::vector<Point>{{0, -1e150}, {9, 1e150}},
        std::vector<Point>{{0, 1e-320}, {9, 1e-150}}}) {
    for (const bool log_y : {false, true}) {
      chart.log_y = log_y;
      chart.lines[0].points = points;
      const std::string drawn = render(chart);
      CHECK_FALSE(contains(drawn, "nan"));
      CHECK_FALSE(contains(drawn, "inf"));
    }
  }
}

TEST_CASE("the report of one run shows its curves and figures and needs no other file") {
  const TemporaryFolder folder;
  write_run(folder / "a", Unit::sample);
  write_report(folder / "report.html", "Run <a>", {read_run("ViT & co", folder / "a")});
  const std::string page = read_file(folder / "report.html");
  CHECK(count(page, "<figure>") == 2);
  CHECK(count(page, "<table>") == 2);
  for (const char* part : {"Run &lt;a&gt;", "ViT &amp; co", "a&lt;b&gt;&amp;&quot;c&quot;", "Accuracy", "40.00 %", "(50.0 % of dense)",
                           "1:21", "123 MiB", ">step</text>", "linear.qkv", "prefers-color-scheme: dark"}) {
    INFO(part);
    CHECK(contains(page, part));
  }
  // Long names do not make the page wider than a phone: they break, and tables scroll.
  for (const char* part : {"overflow-wrap: break-word", "figure { margin: 0; min-width: 0;", ".legend span { min-width: 0; }",
                           ".scroll { overflow-x: auto;"}) {
    INFO(part);
    CHECK(contains(page, part));
  }
  for (const char* part : {"http", "src=", "href=", "<script", "url(", "nan", "a<b>"}) {
    INFO(part);
    CHECK_FALSE(contains(page, part));
  }
}

TEST_CASE("several runs are drawn over time and over steps, each kind in charts of its own") {
  const TemporaryFolder folder;
  write_run(folder / "a", Unit::sample);
  write_run(folder / "b", Unit::sample, false);
  write_run(folder / "c", Unit::token);
  write_report(folder / "report.html", "Demo",
               {read_run("dense", folder / "a"), read_run("BLAST", folder / "b"), read_run("GPT", folder / "c")});
  const std::string page = read_file(folder / "report.html");
  CHECK(count(page, "<figure>") == 6);  // the two of the images over steps besides
  CHECK(count(page, "wall time, seconds") == 2);
  CHECK(count(page, "<summary>Over steps</summary>") == 1);
  for (const char* part : {"Images", "Text", "Loss; dashed: test", "Accuracy, test", "<h3>Word perplexity</h3>", "still running", "MACs per token",
                           ">wall time, evaluations included</th>", ">samples per second of training, median</th>", "</svg>dense</span>"}) {
    INFO(part);
    CHECK(contains(page, part));
  }
  CHECK(count(page, "</svg>dense</span>") == 4);  // once in the legend of each chart
  CHECK_FALSE(contains(page, "dense, test"));
}

TEST_CASE("a run that is judged by another split than the others says by which") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  RunRecord one, two;
  one.name = "one";
  one.evals = {{"valid", 1, 1.0, 0.5, kNan, kNan}};
  two.name = "two";
  two.evals = {{"test", 1, 2.0, 0.6, kNan, kNan}};
  const TemporaryFolder folder;
  write_report(folder / "report.html", "Demo", {one, two});
  const std::string page = read_file(folder / "report.html");
  for (const char* part : {"Loss; dashed: held out", "<h3>Accuracy</h3>", "</svg>one, valid</span>", "</svg>two, test</span>"}) {
    INFO(part);
    CHECK(contains(page, part));
  }
}

TEST_CASE("a curve is called smoothed where it is, and only there the points shine through") {
  const TemporaryFolder folder;
  for (const int points : {59, 60}) {
    CAPTURE(points);
    RunRecord run;
    for (int i = 1; i <= points; ++i) run.trains.push_back({double(i), 1. / i, 100, double(i)});
    write_report(folder / "report.html", "x", {run});
    const std::string page = read_file(folder / "report.html");
    CHECK(contains(page, points < 60 ? "</svg>training</span>" : "</svg>training, smoothed</span>"));
    CHECK(count(page, " line faint\"") == (points < 60 ? 0 : 1));
  }
}

TEST_CASE("a run that has only begun has a report too") {
  const TemporaryFolder folder;
  { Metrics metrics(folder / "metrics.jsonl", Unit::token); }
  write_report(folder / "report.html", "Begun", {read_run("run", folder.path())});
  CHECK(contains(read_file(folder / "report.html"), "still running"));
  CHECK(contains(error_of([&] { write_report(folder / "r", "x", {}); }), "at least one run"));
  CHECK(contains(error_of([&] { read_run("x", folder / "missing"); }), "metrics.jsonl"));
}
