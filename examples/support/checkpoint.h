// What a run needs to go on bit for bit: weights, optimizer state, and how far it is. One safetensors file, replaced
// atomically: the previous one survives a crash at any moment.
#pragma once
#include <filesystem>

#include "layers/module.h"
#include "optim/optimizer.h"

namespace ashlar::support {

struct RunState {
  std::int64_t step = 0;  // the next step to do
  double elapsed = 0;     // seconds trained so far
  double progress = 0;    // of the schedule
};

void save_checkpoint(const std::filesystem::path& path, const Module& model, const optim::Optimizer& optimizer,
                     const RunState& state);
// InputError listing what is missing, unexpected or mis-shaped when it is the checkpoint of another model or optimizer;
// nothing has changed then.
RunState load_checkpoint(const std::filesystem::path& path, const Module& model, optim::Optimizer& optimizer);

}  // namespace ashlar::support
