// compare_runs: puts finished runs side by side, as a table here and as curves in one report.
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/report.h"
#include "examples/support/run_record.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

// "62.1 %" or "word perplexity 254".
std::string result_of(const RunRecord& run) {
  if (run.evals.empty()) return "not evaluated";
  const EvalPoint& last = run.evals.back();
  return std::isfinite(last.accuracy) ? printed("accuracy %.2f %%", 100 * last.accuracy)
                                      : printed("word perplexity %.1f", last.word_perplexity);
}

void run(int argc, char** argv) {
  std::filesystem::path out = "report.html";
  std::vector<ReportRun> runs;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help") {
      std::printf("compare_runs: puts finished runs side by side.\n\nusage: compare_runs [--out FILE] RUN…\n\n"
                  "RUN is a folder that train_vit or train_gpt left; FILE is the report, report.html if not given.\n");
      return;
    }
    if (argument == "--out") {
      ASHLAR_CHECK(i + 1 < argc, "--out needs a file");
      out = argv[++i];
    } else {
      ASHLAR_CHECK(!argument.starts_with("--"), "unknown option ", argument, "; valid: --out, --help");
      ASHLAR_CHECK(std::filesystem::exists(std::filesystem::path(argument) / "metrics.jsonl"), argument,
                   ": has no metrics.jsonl; give the --out folder of a run");
      const std::filesystem::path folder = std::filesystem::path(argument).lexically_normal();
      runs.push_back({(folder.has_filename() ? folder : folder.parent_path()).filename().string(), folder});
    }
  }
  ASHLAR_CHECK(!runs.empty(), "no runs given; usage: compare_runs [--out FILE] RUN…");

  std::printf("%-16s %10s %12s %8s  %-24s %14s\n", "run", "parameters", "MACs", "of dense", "result", "speed");
  for (const ReportRun& entry : runs) {
    const RunRecord record = read_run(entry.name, entry.folder);
    const std::string unit = name_of(record.unit);
    const double macs = record.model_number("macs_per_" + unit), dense = record.model_number("dense_macs_per_" + unit);
    std::printf("%-16s %10s %12s %7.1f%%  %-24s %8s %ss/s\n", entry.name.c_str(),
                format_count(record.model_number("parameters")).c_str(), (format_count(macs) + "/" + unit).c_str(),
                100 * macs / dense, result_of(record).c_str(), format_count(record.median_rate()).c_str(), unit.c_str());
  }
  write_report(out, "Comparison of runs", runs);
  std::printf("report: %s\n", out.string().c_str());
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
