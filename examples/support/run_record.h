// A run read back from its folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "examples/support/metrics.h"

namespace ashlar::support {

// Figures that the file does not have are NaN.
struct TrainPoint {
  double step, loss, rate, elapsed;
};
struct EvalPoint {
  std::string split;
  double step, loss, accuracy, perplexity, word_perplexity;
};

struct RunRecord {
  std::string name;
  JsonObject config, model, end;  // config.json and two events; without keys where the run has none (yet)
  Unit unit = Unit::sample;
  std::vector<TrainPoint> trains;
  std::vector<EvalPoint> evals;

  double model_number(const std::string& key) const;
  bool diverged() const;
  std::int64_t last_step() const;
  double last_elapsed() const;
  double median_rate() const;
  double final_loss() const;  // the mean of the last twentieth of the training losses
  // The evaluation of the weights that are left: the last, or with --keep-best, on the split that is evaluated during training,
  // the first in the file, the one of the lowest loss. Null if there is none.
  const EvalPoint* final_eval(const std::string& split) const;
  const EvalPoint* final_eval() const { return evals.empty() ? nullptr : final_eval(evals.front().split); }
  std::string result() const;  // of that: "accuracy 62.10 %", "word perplexity 254.0"
  // Training time at a step, between the steps that were reported.
  double elapsed_at(double step) const;
};

// Reads config.json and metrics.jsonl. An unfinished last line, of a run that was killed, is left out. Any other line that
// is not a JSON object, and a value of another type than the contract's, is an InputError naming file, line and key.
RunRecord read_run(const std::string& name, const std::filesystem::path& folder);

}  // namespace ashlar::support
