// What --help says of the settings of optimizers.
#pragma once
#include <string>

namespace ashlar::support {

// What a setting does, and what it is by default: "decay of the mean of gradients (0.9: adamw, muon; 0.95: soap)".
std::string setting_help(const std::string& key);

}  // namespace ashlar::support
