// What a run needs to go on bit for bit: weights and their average, optimizer state, and how far it is. One safetensors
// file, replaced atomically: the previous one survives a crash at any moment.
#pragma once
#include <filesystem>

#include "layers/module.h"
#include "optim/optimizer.h"
#include "optim/weight_average.h"

namespace ashlar::support {

struct RunState {
  std::int64_t step = 0;    // the next step to do
  double elapsed = 0;       // seconds trained so far
  double step_seconds = 0;  // of the last step
};

// `average` belongs to it if the run keeps one.
void save_checkpoint(const std::filesystem::path& path, const Module& model, const optim::Optimizer& optimizer,
                     const optim::WeightAverage* average, const RunState& state);
// InputError listing what is missing, unexpected or mis-shaped when it is the checkpoint of another model or optimizer,
// when only one of the checkpoint and the run has an average, or when it does not tell its place in the run; nothing has
// changed then.
RunState load_checkpoint(const std::filesystem::path& path, const Module& model, optim::Optimizer& optimizer,
                         optim::WeightAverage* average);

}  // namespace ashlar::support
