// What makes an optimizer available by its name: each defines its kind, make_optimizer.cpp lists them.
#pragma once
#include "optim/optimizer.h"

namespace ashlar::optim {

// Numbers by name: "lr", "weight_decay", "beta1", ... A switch is 0 or 1.
using Settings = std::map<std::string, double>;

struct OptimizerKind {
  const char* name;
  Settings (*defaults)();
  // `settings` holds all of the defaults' keys.
  std::unique_ptr<Optimizer> (*make)(const char* name, const Parameters&, const ParameterOptions&, const Settings& settings);
};

// Gives a setting its number. InputError naming the optimizer where a Dim, which counts something, gets another than a whole
// number that is at least 1, or a bool another than 0 and 1.
void set_setting(std::string_view optimizer, std::string_view key, double& setting, double number);
void set_setting(std::string_view optimizer, std::string_view key, Dim& setting, double number);
void set_setting(std::string_view optimizer, std::string_view key, bool& setting, double number);

// The kind of an optimizer that is made of parameters and `Options`, whose each_setting() tells the settings.
template <class Made, class Options>
constexpr OptimizerKind kind_of(const char* name) {
  return {name,
          [] {
            Settings settings;
            Options().each_setting([&](const char* key, auto value) { settings[key] = static_cast<double>(value); });
            return settings;
          },
          [](const char* own_name, const Parameters& parameters, const ParameterOptions& shared, const Settings& settings) {
            Options options;
            static_cast<ParameterOptions&>(options) = shared;
            options.each_setting([&](const char* key, auto& value) { set_setting(own_name, key, value, settings.at(key)); });
            return std::unique_ptr<Optimizer>(std::make_unique<Made>(parameters, options));
          }};
}

extern const OptimizerKind kAdamW, kDctAdamW, kGalore, kMuon, kPrecGd, kScaledGd, kSgd, kShampoo, kSoap;

}  // namespace ashlar::optim
