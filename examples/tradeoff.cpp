// tradeoff: trains a model with each of several structures at several sizes, everything else alike, and shows what each
// reaches for what it costs.
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "examples/support/study.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

void run(int argc, char** argv) {
  StudyOptions s;
  Options options("tradeoff", "Trains a model with each of several structures at several sizes and compares what they reach. "
                              "The options after -- are those of train_vit or train_gpt.");
  options.add("task", s.task, "what to train").choices({"vit", "gpt"}).value_name("NAME");
  options.add("layers", s.layers, "specs of the weight matrices, separated by semicolons, with * for each ratio; options of "
                                  "the training may follow a spec (dense --width 136). All are compared with the first")
      .value_name("LIST");
  options.add("ratios", s.ratios, "what * stands for").value_name("LIST");
  options.add("lrs", s.lrs, "learning rates, of which the one with the lowest training loss counts; where that is the first or "
                            "the last of several, more are tried beyond it; none: the default")
      .value_name("LIST");
  options.add("seeds", s.seeds, "runs with the best learning rate").at_least(1);
  options.add("out", s.out, "folder for the runs and report.html; runs that are already there are not repeated").value_name("DIR");
  options.positional("-- OPTION", s.training);
  if (!options.parse(argc, argv)) return;
  for (const std::string& option : s.training) {
    for (const char* ours : {"--layer", "--lr", "--seed", "--out", "--resume", "--overwrite"}) {
      ASHLAR_CHECK(option.substr(0, option.find('=')) != ours, "after --: ", ours, " is set by tradeoff; see --help");
    }
  }
  Study study(s, std::filesystem::path(argv[0]).replace_filename("train_" + s.task));
  make_writable_folder(s.out);
  const FolderLock lock(s.out);
  for (const std::filesystem::path& file : {RunFolder{s.out}.metrics(), RunFolder{s.out}.model()}) {
    ASHLAR_CHECK(!std::filesystem::exists(file), "--out ", s.out.string(), " holds ", file.filename().string(),
                 ", so it is the folder of a run; give another one");
  }
  const SignalGuard signals;
  const bool stopped = !study.go();
  if (stopped) std::printf("stopped; the same command goes on\n");
  const std::vector<Outcome> outcomes = study.outcomes();
  if (outcomes.empty()) {
    if (stopped) return;
    study.forget();
    throw Error(concat("no training came to its end; see log.txt in the folders in ", s.out.string()));
  }
  write_tradeoff_report(s.out / "report.html", outcomes);  // also of runs that were there
  std::printf("%sreport: %s\n", tradeoff_table(outcomes).c_str(), (s.out / "report.html").c_str());
  if (!study.refused().empty()) throw InputError(study.refused());
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
