// compare_runs: puts finished runs side by side, as a table here and as curves in one report.
#include <algorithm>
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

// Multiply-accumulates, and their share of the dense model's.
std::string macs_of(const RunRecord& run, const std::string& unit) {
  const double macs = run.model_number("macs_per_" + unit), share = macs / run.model_number("dense_macs_per_" + unit);
  return format_count(macs) + "/" + unit + (std::isfinite(share) ? printed(" (%5.1f %%)", 100 * share) : " (?)");
}

// For each folder the last part of its path, with as many before it as tell it from the others.
std::vector<std::string> names_of(const std::vector<std::string>& folders) {
  std::vector<std::filesystem::path> names, before;
  for (const std::string& folder : folders) {
    const std::filesystem::path whole = RunFolder{folder}.whole();
    names.push_back(whole.filename());
    before.push_back(whole.parent_path());
  }
  for (bool longer = true; longer;) {
    longer = false;
    const auto shorter = names;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (std::ranges::count(shorter, shorter[i]) == 1 || !before[i].has_filename()) continue;
      names[i] = before[i].filename() / names[i];
      before[i] = before[i].parent_path();
      longer = true;
    }
  }
  return {names.begin(), names.end()};
}

void run(int argc, char** argv) {
  std::filesystem::path out = "report.html";
  std::vector<std::string> folders;
  Options options("compare_runs", "Puts runs side by side. RUN is a folder that train_vit or train_gpt left.");
  options.positional("RUN", folders);
  options.add("out", out, "the report to write").value_name("FILE");
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(!folders.empty(), "no runs given; name the --out folders of some, see --help");
  // Such as a report between the runs of runs/*.
  std::erase_if(folders, [](const std::string& path) {
    const bool file = std::filesystem::is_regular_file(path);
    if (file) std::printf("note: %s is a file, not the folder of a run: passed over\n", path.c_str());
    return file;
  });
  ASHLAR_CHECK(!folders.empty(), "these are all files; name the --out folders of runs, see --help");
  for (const std::string& folder : folders) {
    ASHLAR_CHECK(!folder.empty(), "RUN: the path is empty; give the --out folder of a run");
    ASHLAR_CHECK(std::filesystem::exists(RunFolder{folder}.metrics()), folder,
                 ": has no metrics.jsonl; give the --out folder of a run");
  }
  const RunFolder beside{out.parent_path()};
  ASHLAR_CHECK(out != beside.report() || !std::filesystem::exists(beside.metrics()), "--out ", out.string(),
               " is the report of a run; give another file");
  const std::vector<std::string> names = names_of(folders);
  std::vector<RunRecord> runs;
  for (std::size_t i = 0; i < folders.size(); ++i) runs.push_back(read_run(names[i], folders[i]));

  std::size_t width = 16;
  for (const std::string& name : names) width = std::max(width, columns_of(name));
  std::printf("%s %10s %22s  %-24s %14s\n", padded("run", width).c_str(), "parameters", "MACs (of dense)", "result", "speed");
  for (const RunRecord& run : runs) {
    const std::string unit = name_of(run.unit);
    std::printf("%s %10s %22s  %-24s %8s %ss/s\n", padded(run.name, width).c_str(),
                format_count(run.model_number("parameters")).c_str(), macs_of(run, unit).c_str(), run.result().c_str(),
                format_count(run.median_rate()).c_str(), unit.c_str());
  }
  write_report(out, "Comparison of runs", runs);
  std::printf("report: %s\n", out.string().c_str());
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
