// metrics.jsonl: what happened in a run, one JSON object a line, times in seconds.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/json.h"

namespace ashlar::support {

// What throughput and costs count: images ("samples_per_s", "macs_per_sample") or tokens.
enum class Unit : std::uint8_t { sample, token };
const char* name_of(Unit unit);  // "sample"

struct ModelEvent {
  std::int64_t parameters = 0;
  std::int64_t linear_parameters = 0, dense_linear_parameters = 0;  // of the weight matrices; were they all dense
  std::int64_t macs = 0, dense_macs = 0;                            // a forward pass of one sample or token
  std::string device, dtype;
  int threads = 0;
};

struct TrainEvent {
  std::int64_t step = 0;
  double epoch = 0, loss = 0, lr = 0, grad_norm = 0, rate = 0, elapsed = 0;  // rate: samples or tokens a second
  double flops_utilisation = 0;  // achieved over the rate of a large matrix product, measured when the run began
};

// How good a model is by held-out data.
struct Score {
  double loss = 0;
  std::optional<double> accuracy = {};  // a fraction
  std::optional<double> perplexity = {}, word_perplexity = {};
};

struct EvalEvent {
  std::int64_t step = 0;
  std::string split;
  Score score;
};

// Is told before each batch of an evaluation how many are done.
using EvalProgress = std::function<void(std::int64_t done, std::int64_t count)>;

struct EndEvent {
  std::int64_t steps = 0;
  double elapsed = 0;
  std::int64_t peak_memory_bytes = 0;
  std::string stopped_by;  // "steps", "minutes", "signal", "divergence"
};

// Every line reaches the file as soon as it is written. Numbers that JSON cannot hold (NaN, infinity) become null.
class Metrics {
 public:
  // A new file; with `resume_step` the file that is there, without what came after this step: lines of later steps, the
  // end, a line that a crash cut off. An evaluation at `resume_step` stays.
  Metrics(std::filesystem::path path, Unit unit, std::optional<std::int64_t> resume_step = std::nullopt);

  void write(const ModelEvent& event);  // a resumed file keeps the one it has
  void write(const TrainEvent& event);
  void write(const EvalEvent& event);
  void write(const EndEvent& event);

  // Whether the file has an evaluation of the split at the step.
  bool evaluated(const std::string& split, std::int64_t step) const { return evaluated_.contains({split, step}); }

 private:
  void line(const OrderedJson& event);

  std::filesystem::path path_;
  Unit unit_;
  bool has_model_ = false;
  std::set<std::pair<std::string, std::int64_t>> evaluated_;
  std::ofstream file_;
};

}  // namespace ashlar::support
