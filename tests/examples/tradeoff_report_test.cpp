// What tradeoff shows of runs.
#include "examples/support/tradeoff_report.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

RunRecord run_of(double parameters, double macs, double rate, double loss, double accuracy) {
  RunRecord run;
  run.config = JsonObject({{"lr", 0.01}}, "test");
  run.model = JsonObject({{"parameters", parameters}, {"macs_per_sample", macs}}, "test");
  run.trains = {{1, 9, rate, 1}, {2, loss, rate, 2}};
  run.evals = {{"test", 1, 9, 0.1, 0, 0}, {"test", 2, 1, accuracy, 0, 0}};
  return run;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

const std::vector<Outcome> kOutcomes{
    {"dense", "dense", 2, {run_of(8000, 2e6, 100, 1.5, 0.5), run_of(8000, 2e6, 300, 1.25, 0.52)}},
    {"ss1:ratio=0.5", "ss1:ratio=*", 1, {run_of(4000, 1e6, 320, 2, 0.25)}},
    {"ss1:ratio=0.25", "ss1:ratio=*", 1, {run_of(2000, 5e5, 500, 2.5, 0.125)}},
};

}  // namespace

TEST_CASE("the table has means and spreads over seeds, and shares of the first") {
  const std::vector<std::string> lines = lines_of(tradeoff_table(kOutcomes));
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "| layer          | parameters | MACs/sample | of dense | lr   | training loss | accuracy, %  | samples/s |");
  CHECK(lines[1] == "| -------------- | ---------- | ----------- | -------- | ---- | ------------- | ------------ | --------- |");
  CHECK(lines[2] == "| dense          | 8000       | 2.00M       | 100.0 %  | 0.01 | 1.375 ± 0.125 | 51.00 ± 1.00 | 200       |");
  CHECK(lines[3] == "| ss1:ratio=0.5  | 4000       | 1.00M       | 50.0 %   | 0.01 | 2.000         | 25.00        | 320       |");
  CHECK(contains(lines[4], "| 25.0 %   | 0.01 | 2.500         | 12.50        |"));
  std::vector<Outcome> missing = kOutcomes;
  missing[0].seeds = 3;
  CHECK(contains(tradeoff_table(missing), "| dense (2 of 3 seeds) | 8000 "));
}

TEST_CASE("the page draws a curve for each family, in the order of its cost") {
  const TemporaryFolder folder;
  write_tradeoff_report(folder / "report.html", kOutcomes);
  const std::string page = read_file(folder / "report.html");
  for (const char* part : {"Result by cost", "Result by speed", "Training loss by cost", "multiply-accumulates per sample",
                           "ss1:ratio=*</span>", "<th>ss1:ratio=0.25</th>", "51.00 ± 1.00"}) {
    CAPTURE(part);
    CHECK(contains(page, part));
  }
  // Two curves, of one and of two points; x grows from 500k to 1M, a quarter and a half of the axis.
  CHECK(contains(page, "d=\"M214.0 "));
  CHECK(contains(page, "L348.0 "));
}

TEST_CASE("the results of texts are word perplexities") {
  RunRecord run = run_of(8000, 0, 100, 1.5, 0.5);
  run.unit = Unit::token;
  run.model = JsonObject({{"parameters", 8000}, {"macs_per_token", 3000}}, "test");
  run.evals.back().word_perplexity = 123.44;
  const std::vector<std::string> lines = lines_of(tradeoff_table({{"dense", "dense", 1, {run}}}));
  CHECK(contains(lines[0], "MACs/token"));
  CHECK(contains(lines[0], "| word perplexity | tokens/s |"));
  CHECK(contains(lines[2], "| 123.4 "));
}
