// The losses and gradients of a training step: computed op by op or, on a GPU, recorded once as a CUDA graph and replayed,
// which takes one launch instead of thousands.
#pragma once
#include <memory>

#include "core/cuda/cuda.h"
#include "examples/support/trainer.h"

namespace ashlar::support {

class StepRunner {
 public:
  // A step has `accumulate` batches; `record` is ignored on the CPU. `say` is told why a step cannot be recorded.
  StepRunner(const TrainingTask& task, Parameters parameters, std::int64_t accumulate, bool record,
             std::function<void(const std::string&)> say);

  // Leaves in the parameters, which must have none before, the gradients summed over the step's batches; returns the loss
  // of each batch, which the next call may overwrite. A GPU may still be computing all of them.
  std::vector<Array> run(std::int64_t step);

 private:
  std::vector<Array> run_eagerly(std::int64_t first, const std::vector<Batch>& batches);
  bool matches_recording(const std::vector<Batch>& batches) const;
  bool record(const std::vector<Batch>& batches);
  void forget_recording();

  const TrainingTask& task_;
  Parameters parameters_;
  std::int64_t accumulate_;
  Device device_;
  bool record_, warm_ = false;  // the first step is not recorded: it loads code and chooses algorithms
  std::function<void(const std::string&)> say_;

  // What the recording reads: the batches of a step and, for dropout, the number of the first. What it writes.
  std::vector<Batch> inputs_;
  Array first_;
  std::vector<Array> losses_, gradients_;
  std::unique_ptr<cuda::Recording> recording_;
};

}  // namespace ashlar::support
