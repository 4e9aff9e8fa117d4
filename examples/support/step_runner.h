// A training step: losses, gradients, clipping and the update of the weights. Op by op or, on a GPU, recorded once as a CUDA
// graph and replayed, which takes one launch instead of thousands.
#pragma once
#include <memory>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "core/host_copy.h"
#include "examples/support/trainer.h"
#include "optim/clip.h"
#include "optim/optimizer.h"

namespace ashlar::support {

// A loss or a gradient is not finite.
class Divergence : public Error {
 public:
  using Error::Error;
};

// What is told of a step; a GPU may still be computing it.
struct StepResult {
  std::int64_t step = 0;         // counted from 1
  std::vector<HostCopy> losses;  // of its batches, by what counts in them
  optim::Clip clip;

  double loss() const;  // their mean
  void check() const;   // throws Divergence
};

class StepRunner {
 public:
  struct Settings {
    std::int64_t accumulate = 1;  // batches of a step
    double max_norm = 0;          // of clipping
    bool record = true;           // ignored on the CPU
  };
  // `say` is told why a step cannot be recorded. The updates of an optimizer that cannot be recorded follow the replay.
  StepRunner(const TrainingTask& task, optim::Optimizer& optimizer, const Settings& settings,
             std::function<void(const std::string&)> say);

  // Does step `step`, counted from 0; the parameters have no gradients before and after. On the CPU a result that would not
  // pass its check() is a Divergence here, before the weights change; on a GPU the caller checks it when it has arrived.
  StepResult run(std::int64_t step, const optim::Optimizer::LrFactor& lr_factor);

 private:
  StepResult run_eagerly(std::int64_t step, const std::vector<Batch>& batches, const optim::Optimizer::LrFactor& lr_factor);
  // Losses, and gradients in the parameters.
  StepResult gradients_of(std::int64_t step, const std::vector<Batch>& batches);
  StepResult replay(std::int64_t step, const std::vector<Batch>& batches, const optim::Optimizer::LrFactor& lr_factor);
  // The weights; no gradients are left.
  void update(const StepResult& result, const optim::Optimizer::LrFactor& lr_factor);
  bool record(const std::vector<Batch>& batches);
  void forget_recording();

  const TrainingTask& task_;
  Parameters parameters_;
  optim::Optimizer& optimizer_;
  Settings settings_;
  Device device_;
  bool record_;
  // A step is recorded when the one before was its like and ran op by op, which loads code and chooses algorithms for its
  // shapes. One of another kind alone, such as that of the short last window of a text, leaves the recording for those after it.
  std::vector<Dim> previous_;
  std::function<void(const std::string&)> say_;

  // What the recording reads: the batches of a step and, for dropout, the number of the first. What it writes; gradients
  // only if the optimizer follows it.
  std::vector<Batch> inputs_;
  Array first_;
  std::vector<Array> losses_, gradients_;
  optim::Clip clip_;
  std::unique_ptr<cuda::Recording> recording_;
};

}  // namespace ashlar::support
