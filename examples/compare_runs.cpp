// compare_runs: puts finished runs side by side, as a table here and as curves in one report.
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/report.h"
#include "examples/support/run_folder.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

// The share of the dense model's multiply-accumulates.
std::string share_of(const RunRecord& run, const std::string& unit) {
  const double share = run.model_number("macs_per_" + unit) / run.model_number("dense_macs_per_" + unit);
  return std::isfinite(share) ? printed("%.1f%%", 100 * share) : "?";
}

void run(int argc, char** argv) {
  std::filesystem::path out = "report.html";
  std::vector<std::string> folders;
  Options options("compare_runs", "Puts runs side by side. RUN is a folder that train_vit or train_gpt left.");
  options.positional("RUN", folders);
  options.add("out", out, "the report to write").value_name("FILE");
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(!folders.empty(), "no runs given; name the --out folders of some, see --help");
  std::vector<RunRecord> runs;
  for (const std::string& folder : folders) {
    ASHLAR_CHECK(!folder.empty(), "RUN: the path is empty; give the --out folder of a run");
    const RunFolder run{folder};
    ASHLAR_CHECK(std::filesystem::exists(run.metrics()), folder, ": has no metrics.jsonl; give the --out folder of a run");
    runs.push_back(read_run(run.name(), folder));
  }

  std::printf("%-16s %10s %12s %8s  %-24s %14s\n", "run", "parameters", "MACs", "of dense", "result", "speed");
  for (const RunRecord& run : runs) {
    const std::string unit = name_of(run.unit);
    std::printf("%-16s %10s %12s %8s  %-24s %8s %ss/s\n", run.name.c_str(),
                format_count(run.model_number("parameters")).c_str(),
                (format_count(run.model_number("macs_per_" + unit)) + "/" + unit).c_str(), share_of(run, unit).c_str(),
                run.result().c_str(), format_count(run.median_rate()).c_str(), unit.c_str());
  }
  write_report(out, "Comparison of runs", runs);
  std::printf("report: %s\n", out.string().c_str());
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
