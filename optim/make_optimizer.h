// Optimizers by name, as configs and command lines give them.
#pragma once
#include "optim/optimizer_kind.h"

namespace ashlar::optim {

struct OptimizerConfig {
  std::string name = "adamw";  // one of optimizer_names()
  Settings settings = {};      // those that differ from default_settings(name)
  ParameterOptions parameters = {};
};

// Unknown names and settings are InputErrors that list the valid ones.
std::unique_ptr<Optimizer> make_optimizer(const Parameters& parameters, const OptimizerConfig& config);
std::vector<std::string> optimizer_names();
Settings default_settings(const std::string& name);

}  // namespace ashlar::optim
