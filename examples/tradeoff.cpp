// tradeoff: trains a model with each of several structures at several sizes, everything else alike, and shows what each
// reaches for what it costs.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "examples/support/child.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "examples/support/tradeoff_report.h"
#include "layers/linear_spec.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  std::string task = "vit";
  std::string layers =
      "dense; low_rank:ratio=*; monarch:blocks=4,ratio=*; blast:blocks=4,ratio=*; ss1:ratio=*; block_diagonal:shuffle=1,ratio=*";
  std::string ratios = "0.25,0.5", lrs;
  std::int64_t seeds = 1;
  std::filesystem::path out = "runs/tradeoff";
  std::vector<std::string> training;  // options of the training program
};

// A structure at one size.
struct Candidate {
  std::string name, family;          // as in Outcome
  std::vector<std::string> options;  // of the training program
};

std::vector<Candidate> candidates(const Settings& s) {
  std::vector<Candidate> result;
  for (const std::string& entry : split(s.layers, ';')) {
    const bool sized = entry.find('*') != std::string::npos;
    const std::vector<std::string> ratios = sized ? split(s.ratios, ',') : std::vector<std::string>{""};
    ASHLAR_CHECK(!ratios.empty(), "--ratios: needs a number to put for the * of ", entry);
    for (const std::string& ratio : ratios) {
      std::string name = entry;
      if (sized) name.replace(name.find('*'), 1, ratio);
      std::vector<std::string> options = split(name, ' ');
      // What no layer takes is found here, not after hours of training.
      constexpr Dim kWide = 1024;
      make_linear_map(Scope::root().for_loading(), kWide, kWide, options[0], {});
      options.insert(options.begin(), "--layer");
      result.push_back({name, split(entry, ' ')[0], std::move(options)});
    }
  }
  ASHLAR_CHECK(!result.empty(), "--layers: needs at least one spec");
  return result;
}

// A training: a candidate with a learning rate (empty: the program's default) and a seed.
struct Trial {
  const Candidate* candidate;
  std::string lr;
  std::int64_t seed;

  std::string name() const { return concat(candidate->name, lr.empty() ? "" : ", lr " + lr, ", seed ", seed); }
  std::string folder() const {
    std::string text = name();
    std::ranges::replace_if(text, [](char c) { return c == ' ' || c == ':' || c == ',' || c == '/'; }, '_');
    return text;
  }
};

std::filesystem::path options_file(const Settings& s) { return s.out / "options.json"; }

// Runs with other options must not get into one table.
void check_options(const Settings& s) {
  const OrderedJson options{{"task", s.task}, {"options", s.training}};
  const std::filesystem::path path = options_file(s);
  if (!std::filesystem::exists(path)) return write_json(path, options);
  ASHLAR_CHECK(read_json(path) == Json(options), path.string(), ": the runs there were trained with ", read_json(path).dump(),
               ", not with ", options.dump(), "; give the same options or another --out");
}

class Study {
 public:
  Study(const Settings& settings, std::string program)
      : s_(settings), program_(std::move(program)), candidates_(candidates(settings)), lrs_(split(settings.lrs, ',')) {
    if (lrs_.empty()) lrs_.emplace_back();
  }

  // Trains what is neither trained yet nor known to diverge; false if a signal came.
  bool go() const {
    std::vector<Trial> trials;
    for (const std::string& lr : lrs_) {
      for (const Candidate& candidate : candidates_) trials.push_back({&candidate, lr, 1});
    }
    if (!train(trials)) return false;
    trials.clear();
    for (std::int64_t seed = 2; seed <= s_.seeds; ++seed) {
      for (const Candidate& candidate : candidates_) {
        if (const auto best = best_of(candidate)) trials.push_back({&candidate, best->lr, seed});
      }
    }
    return train(trials);
  }

  // Where nothing has come to its end other options may be tried, with which nothing need diverge.
  void forget() const {
    for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(s_.out)) {
      const RunFolder folder{entry.path()};
      if (!entry.is_directory() || !std::filesystem::exists(folder.metrics())) continue;
      if (!read_run("", folder.root).diverged()) continue;
      std::filesystem::remove(folder.metrics());
      std::filesystem::remove(folder.checkpoint());
    }
    std::filesystem::remove(options_file(s_));
  }

  // What is known of each candidate that has a finished run, with its best learning rate.
  std::vector<Outcome> outcomes() const {
    std::vector<Outcome> known;
    for (const Candidate& candidate : candidates_) {
      auto best = best_of(candidate);
      if (!best) continue;
      known.push_back({candidate.name, candidate.family, s_.seeds, {std::move(best->run)}});
      for (std::int64_t seed = 2; seed <= s_.seeds; ++seed) {
        if (auto run = finished({&candidate, best->lr, seed})) known.back().runs.push_back(std::move(*run));
      }
    }
    return known;
  }

 private:
  // A run that has come to its end or diverged, as the same command would again.
  std::optional<RunRecord> concluded(const Trial& trial) const {
    const RunFolder folder{s_.out / trial.folder()};
    if (!std::filesystem::exists(folder.metrics())) return std::nullopt;
    RunRecord run = read_run(trial.name(), folder.root);
    if (run.end.text("stopped_by", "signal") == "signal") return std::nullopt;
    return run;
  }

  std::optional<RunRecord> finished(const Trial& trial) const {
    auto run = concluded(trial);
    return run && !run->diverged() ? run : std::nullopt;
  }

  struct Best {
    std::string lr;
    RunRecord run;  // with seed 1
  };
  // Of the lowest training loss: to choose by the result would flatter it. None before there is a finished run.
  std::optional<Best> best_of(const Candidate& candidate) const {
    std::optional<Best> best;
    double lowest = INFINITY;
    for (const std::string& lr : lrs_) {
      auto run = finished({&candidate, lr, 1});
      if (!run || !(run->final_loss() < lowest)) continue;
      lowest = run->final_loss();
      best = Best{lr, std::move(*run)};
    }
    return best;
  }

  bool train(std::vector<Trial> trials) const {
    std::erase_if(trials, [this](const Trial& trial) { return concluded(trial).has_value(); });
    const auto count = static_cast<std::int64_t>(trials.size());
    ItemProgress progress;
    for (std::int64_t done = 0; done < count; ++done) {
      const Trial& trial = trials[static_cast<std::size_t>(done)];
      const std::string failure = train(trial, [&] { progress.update(done, count, trial.name()); });
      if (SignalGuard::received()) return false;
      const auto run = finished(trial);
      progress.message(concat(trial.name(), ": ", run ? describe(*run) : failure));
      if (run) write_tradeoff_report(s_.out / "report.html", outcomes());
    }
    return true;
  }

  // Runs the training program to its end. Why it failed; empty if it did not.
  std::string train(const Trial& trial, const std::function<void()>& tick) const {
    const RunFolder folder{s_.out / trial.folder()};
    // The loss by which learning rates are chosen is a mean over the last steps, so that each of them counts.
    std::vector<std::string> command{program_, "--log-every", "1"};
    const auto add = [&command](const std::vector<std::string>& more) { command.insert(command.end(), more.begin(), more.end()); };
    add(s_.training);
    add(trial.candidate->options);
    if (!trial.lr.empty()) add({"--lr", trial.lr});
    add({"--seed", std::to_string(trial.seed), "--out", folder.root.string()});
    add({std::filesystem::exists(folder.checkpoint()) ? "--resume" : "--overwrite"});

    make_writable_folder(folder.root);
    const std::filesystem::path log = folder.root / "log.txt";
    const int code = run_child(command, log, tick);
    if (code == 0 && finished(trial)) return "";
    const std::vector<std::string> lines = split(read_file(log), '\n');
    const std::string reason = lines.empty() ? concat("ended with ", code) : lines.back();
    if (code == 2) {  // bad input, which would be bad for the others too
      if (outcomes().empty()) forget();
      throw InputError(concat(trial.name(), ": ", reason));
    }
    return concat("failed, see ", log.string(), ": ", reason);
  }

  static std::string describe(const RunRecord& run) {
    return concat("training loss ", printed("%.4f", run.final_loss()), ", ", run.result(), " after ",
                  format_duration(run.last_elapsed()));
  }

  const Settings& s_;
  std::string program_;
  std::vector<Candidate> candidates_;
  std::vector<std::string> lrs_;
};

void run(int argc, char** argv) {
  Settings s;
  Options options("tradeoff", "Trains a model with each of several structures at several sizes and compares what they reach. "
                              "The options after -- are those of train_vit or train_gpt.");
  options.add("task", s.task, "what to train").choices({"vit", "gpt"}).value_name("NAME");
  options.add("layers", s.layers, "specs of the weight matrices, separated by semicolons, * standing for each ratio; options of "
                                  "the training may follow a spec (dense --width 136). All are compared with the first")
      .value_name("LIST");
  options.add("ratios", s.ratios, "what to put for *").value_name("LIST");
  options.add("lrs", s.lrs, "learning rates, of which the one with the lowest training loss counts; none: the default")
      .value_name("LIST");
  options.add("seeds", s.seeds, "runs with the best learning rate").at_least(1);
  options.add("out", s.out, "folder of the runs, which are not repeated if they are there, and of report.html").value_name("DIR");
  options.positional("-- OPTION", s.training);
  if (!options.parse(argc, argv)) return;
  for (const std::string& option : s.training) {
    for (const char* ours : {"--layer", "--lr", "--seed", "--out", "--resume", "--overwrite"}) {
      ASHLAR_CHECK(option.substr(0, option.find('=')) != ours, "after --: ", ours, " is set by tradeoff; see --help");
    }
  }
  const Study study(s, std::filesystem::path(argv[0]).replace_filename("train_" + s.task));
  make_writable_folder(s.out);
  const FolderLock lock(s.out);
  check_options(s);
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
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
