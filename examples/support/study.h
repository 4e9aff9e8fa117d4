// What tradeoff trains: a model with each of several structures at several sizes, each with its best learning rate.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "examples/support/tradeoff_report.h"

namespace ashlar::support {

struct StudyOptions {
  std::string task = "vit";
  std::string layers =
      "dense; low_rank:ratio=*; monarch:blocks=4,ratio=*; blast:blocks=4,ratio=*; ss1:ratio=*; block_diagonal:shuffle=1,ratio=*";
  std::string ratios = "0.25,0.5", lrs;
  std::int64_t seeds = 1;
  std::filesystem::path out = "runs/tradeoff";
  std::vector<std::string> training;  // options of the training program
};

class Study {
 public:
  // `program` trains. InputError for what can be seen to be wrong before anything is trained.
  Study(const StudyOptions& options, std::string program);
  Study(const Study&) = delete;  // trials point to its candidates
  Study& operator=(const Study&) = delete;

  // Trains what is neither trained yet nor known to diverge; false if a signal came. InputError if nothing can be trained with
  // the options, or the runs that are in the folder were trained with others.
  bool go();
  // Why trainings could not begin, for which some candidates may have no runs; empty if all could.
  const std::string& refused() const { return refused_; }
  // For a study in which no run has finished: removes what it has noted of its options and of the runs that diverged, so that
  // the same folder can be tried with other options.
  void forget() const;
  // What is known of each candidate that has a finished run, with its best learning rate. InputError if not all saw the same data.
  std::vector<Outcome> outcomes() const;

 private:
  // A structure at one size.
  struct Candidate {
    std::string name, family;          // as in Outcome
    std::vector<std::string> options;  // of the training program
  };
  // A training: a candidate with a learning rate (empty: the program's default) and a seed.
  struct Trial {
    const Candidate* candidate;
    std::string lr;
    std::int64_t seed;

    std::string name() const;
    std::string folder() const;
  };
  struct Best {
    std::string lr;
    RunRecord run;  // with seed 1
  };
  struct Search {
    std::vector<std::string> rates;
    std::optional<Best> best;  // none before there is a finished run
  };

  static std::vector<Candidate> candidates_of(const StudyOptions& options);
  std::filesystem::path options_file() const { return options_.out / "options.json"; }
  void check_options() const;
  std::optional<RunRecord> concluded(const Trial& trial) const;
  std::optional<RunRecord> finished(const Trial& trial) const;
  bool done(const Trial& trial) const { return failed_.contains(trial.name()) || concluded(trial); }
  Search search(const Candidate& candidate) const;
  bool train(std::vector<Trial> trials);
  std::string train(const Trial& trial, const std::function<void()>& tick);

  const StudyOptions& options_;
  std::string program_;
  std::vector<Candidate> candidates_;
  std::vector<std::string> lrs_;
  std::set<std::string> failed_;  // names of trials, which this call does not try again
  std::string refused_;
};

}  // namespace ashlar::support
