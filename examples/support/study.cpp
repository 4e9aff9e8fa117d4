#include "examples/support/study.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "examples/support/child.h"
#include "examples/support/format.h"
#include "examples/support/lr_search.h"
#include "examples/support/option_values.h"
#include "examples/support/progress.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "layers/linear_spec.h"

namespace ashlar::support {
namespace {

// What is given as --config among the options of the training; null if nothing is.
Json config_of(const std::vector<std::string>& training) {
  const std::string flag = "--config";
  Json config;
  for (std::size_t i = 0; i < training.size(); ++i) {
    if (training[i].starts_with(flag + "=")) config = read_json(training[i].substr(flag.size() + 1));
    if (training[i] == flag && i + 1 < training.size()) config = read_json(training[i + 1]);
  }
  return config;
}

std::string describe(const RunRecord& run) {
  return concat("training loss ", printed("%.4f", run.final_loss()), ", ", run.result(), " after ",
                format_duration(run.last_elapsed()));
}

std::string data_of(const RunRecord& run) {
  const std::string data = run.config.text("data", "");
  return data.empty() ? "what the program makes itself" : data;
}

}  // namespace

std::string Study::Trial::name() const {
  return concat(candidate->name, lr.empty() ? "" : ", lr " + lr, ", seed ", seed);
}

std::string Study::Trial::folder() const {
  std::string text = name();
  std::ranges::replace_if(text, [](char c) { return c == ' ' || c == ':' || c == ',' || c == '/'; }, '_');
  return text;
}

std::vector<Study::Candidate> Study::candidates_of(const StudyOptions& options) {
  std::vector<Candidate> result;
  for (const std::string& entry : split(options.layers, ';')) {
    const bool sized = entry.find('*') != std::string::npos;
    const std::vector<std::string> ratios = sized ? split(options.ratios, ',') : std::vector<std::string>{""};
    ASHLAR_CHECK(!ratios.empty(), "--ratios: needs a number to put for the * of ", entry);
    for (const std::string& ratio : ratios) {
      std::string name = entry;
      if (sized) name.replace(name.find('*'), 1, ratio);
      std::vector<std::string> training = split(name, ' ');
      // What no layer takes is found here, not after hours of training.
      constexpr Dim kWide = 1024;
      make_linear_map(Scope::root().for_loading(), kWide, kWide, training[0], {});
      training.insert(training.begin(), "--layer");
      result.push_back({name, split(entry, ' ')[0], std::move(training)});
    }
  }
  ASHLAR_CHECK(!result.empty(), "--layers: needs at least one spec");
  return result;
}

Study::Study(const StudyOptions& options, std::string program)
    : options_(options), program_(std::move(program)), candidates_(candidates_of(options)), lrs_(split(options.lrs, ',')) {
  for (const std::string& lr : lrs_) {
    const Json number = number_or_text(lr);
    ASHLAR_CHECK(number.is_number() && number > 0, "--lrs: '", lr, "' is no learning rate; give numbers above 0");
  }
  if (lrs_.empty()) lrs_.emplace_back();
}

// Runs with other options must not get into one table.
void Study::check_options() const {
  const Json ours{{"task", options_.task}, {"options", options_.training}, {"config", config_of(options_.training)}};
  const std::filesystem::path path = options_file();
  if (!std::filesystem::exists(path)) return write_json(path, ours);
  const Json theirs = read_json(path);
  ASHLAR_CHECK(theirs == ours, path.string(), ": the runs there were trained with ", printed_json(theirs), ", not with ",
               printed_json(ours), "; give the same options or another --out");
}

bool Study::go() {
  check_options();
  std::vector<Trial> trials;
  for (const std::string& lr : lrs_) {
    for (const Candidate& candidate : candidates_) trials.push_back({&candidate, lr, 1});
  }
  while (!trials.empty()) {
    if (!train(trials)) return false;
    trials.clear();
    for (const Candidate& candidate : candidates_) trials.push_back({&candidate, search(candidate).rates.back(), 1});
    std::erase_if(trials, [this](const Trial& trial) { return done(trial); });
  }
  for (std::int64_t seed = 2; seed <= options_.seeds; ++seed) {
    for (const Candidate& candidate : candidates_) {
      if (const auto best = search(candidate).best) trials.push_back({&candidate, best->lr, seed});
    }
  }
  return train(trials);
}

void Study::forget() const {
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(options_.out)) {
    const RunFolder folder{entry.path()};
    if (!entry.is_directory() || !std::filesystem::exists(folder.metrics())) continue;
    if (!read_run("", folder.root).diverged()) continue;
    std::filesystem::remove(folder.metrics());
    std::filesystem::remove(folder.checkpoint());
  }
  std::filesystem::remove(options_file());
}

std::vector<Outcome> Study::outcomes() const {
  std::vector<Outcome> known;
  for (const Candidate& candidate : candidates_) {
    auto best = search(candidate).best;
    if (!best) continue;
    known.push_back({candidate.name, candidate.family, options_.seeds, {std::move(best->run)}});
    for (std::int64_t seed = 2; seed <= options_.seeds; ++seed) {
      if (auto run = finished({&candidate, best->lr, seed})) known.back().runs.push_back(std::move(*run));
    }
    const RunRecord& first = known[0].runs[0];
    for (const RunRecord& run : known.back().runs) {
      ASHLAR_CHECK(data_of(run) == data_of(first), run.name, " was trained on ", data_of(run), ", and ", first.name, " on ",
                   data_of(first), "; give --data after the --, and another --out");
    }
  }
  return known;
}

// A run that has come to its end or diverged, as the same command would again.
std::optional<RunRecord> Study::concluded(const Trial& trial) const {
  const RunFolder folder{options_.out / trial.folder()};
  if (!std::filesystem::exists(folder.metrics())) return std::nullopt;
  RunRecord run = read_run(trial.name(), folder.root);
  if (run.end.text("stopped_by", "signal") == "signal") return std::nullopt;
  return run;
}

std::optional<RunRecord> Study::finished(const Trial& trial) const {
  auto run = concluded(trial);
  return run && !run->diverged() ? run : std::nullopt;
}

// The rates that are given, and where the best of them stands at their end those beyond it, of which the last may not be trained
// yet. The best is that of the lowest training loss: to choose by the result would flatter it.
Study::Search Study::search(const Candidate& candidate) const {
  Search found{lrs_, {}};
  std::vector<TriedRate> tried;
  double lowest = INFINITY;
  for (std::size_t i = 0; i < found.rates.size(); ++i) {
    const std::string lr = found.rates[i];
    auto run = finished({&candidate, lr, 1});
    const double loss = run ? run->final_loss() : NAN;
    tried.push_back({std::strtod(lr.c_str(), nullptr), loss});
    if (loss < lowest) {
      lowest = loss;
      found.best = Best{lr, std::move(*run)};
    }
    if (tried.size() < found.rates.size()) continue;
    // Without a run the next one counts as worse, and the search ends.
    if (const auto next = next_rate(tried)) found.rates.push_back(*next);
  }
  return found;
}

bool Study::train(std::vector<Trial> trials) {
  std::erase_if(trials, [this](const Trial& trial) { return done(trial); });
  const auto count = static_cast<std::int64_t>(trials.size());
  ItemProgress progress;
  for (std::int64_t done = 0; done < count; ++done) {
    const Trial& trial = trials[static_cast<std::size_t>(done)];
    const std::string failure = train(trial, [&] { progress.update(done, count, trial.name()); });
    if (SignalGuard::received()) return false;
    const auto run = finished(trial);
    if (!run) failed_.insert(trial.name());
    progress.message(concat(trial.name(), ": ", run ? describe(*run) : failure));
    if (run) write_tradeoff_report(options_.out / "report.html", outcomes());
  }
  return true;
}

// Runs the training program to its end. Why it failed; empty if it did not.
std::string Study::train(const Trial& trial, const std::function<void()>& tick) {
  const RunFolder folder{options_.out / trial.folder()};
  // The loss by which learning rates are chosen is a mean over the last steps, so that each of them counts.
  std::vector<std::string> command{program_, "--log-every", "1"};
  const auto add = [&command](const std::vector<std::string>& more) { command.insert(command.end(), more.begin(), more.end()); };
  add(options_.training);
  add(trial.candidate->options);
  if (!trial.lr.empty()) add({"--lr", trial.lr});
  add({"--seed", std::to_string(trial.seed), "--out", folder.root.string()});
  const RunStart start = std::filesystem::exists(folder.checkpoint()) ? RunStart::resume : RunStart::overwrite;
  add({start == RunStart::resume ? "--resume" : "--overwrite"});

  folder.check(start);  // here, as the program that a killed study has left at work is no bad input of this trial
  make_writable_folder(folder.root);
  const std::filesystem::path log = folder.root / "log.txt";
  const int code = run_child(command, log, tick);
  if (code == 0 && finished(trial)) return "";
  const std::vector<std::string> lines = split(read_file(log), '\n');
  const std::string reason = lines.empty() ? concat("ended with ", code) : lines.back();
  if (code == 2) {  // bad input, which would be bad for the others too if it is not that of this one
    refused_ = concat(trial.name(), ": ", reason);
    if (!outcomes().empty()) return "cannot be trained: " + reason;
    forget();
    throw InputError(refused_);
  }
  return concat("failed, see ", log.string(), ": ", reason);
}

}  // namespace ashlar::support
