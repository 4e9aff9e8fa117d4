// What makes an optimizer available by its name: each defines its kind, make_optimizer.cpp lists them.
#pragma once
#include "optim/optimizer.h"

namespace ashlar::optim {

// Numbers by name: "lr", "weight_decay", "beta1", ... A switch is 0 or 1.
using Settings = std::map<std::string, double>;

// A setting that counts something; InputError unless it is a whole number that is at least 1.
Dim count_setting(std::string_view optimizer, const Settings& settings, const std::string& key);

struct OptimizerKind {
  const char* name;
  Settings (*defaults)();
  // `settings` holds all of the defaults' keys; lr and weight_decay are already in `shared`.
  std::unique_ptr<Optimizer> (*make)(const Parameters&, const OptimizerOptions& shared, const Settings& settings);
};
extern const OptimizerKind kAdamW, kDctAdamW, kGalore, kMuon, kPrecGd, kScaledGd, kSgd, kShampoo, kSoap;

}  // namespace ashlar::optim
