#include "optim/make_optimizer.h"

#include <array>

#include "optim/adamw.h"
#include "optim/sgd.h"

namespace ashlar::optim {
namespace {

Settings sgd_defaults() {
  const SgdOptions options;
  return {{"lr", options.lr},
          {"weight_decay", options.weight_decay},
          {"momentum", options.momentum},
          {"nesterov", options.nesterov}};
}

std::unique_ptr<Optimizer> make_sgd(const Parameters& parameters, const OptimizerOptions& shared,
                                    const Settings& settings) {
  SgdOptions options;
  static_cast<OptimizerOptions&>(options) = shared;
  options.momentum = settings.at("momentum");
  options.nesterov = settings.at("nesterov") != 0;
  return std::make_unique<Sgd>(parameters, options);
}

Settings adamw_defaults() {
  const AdamWOptions options;
  return {{"lr", options.lr},
          {"weight_decay", options.weight_decay},
          {"beta1", options.adam.beta1},
          {"beta2", options.adam.beta2},
          {"eps", options.adam.eps}};
}

std::unique_ptr<Optimizer> make_adamw(const Parameters& parameters, const OptimizerOptions& shared,
                                      const Settings& settings) {
  AdamWOptions options;
  static_cast<OptimizerOptions&>(options) = shared;
  options.adam = {settings.at("beta1"), settings.at("beta2"), settings.at("eps")};
  return std::make_unique<AdamW>(parameters, options);
}

struct Kind {
  const char* name;
  Settings (*defaults)();
  // `settings` holds all of the defaults' keys; lr and weight_decay are already in `shared`.
  std::unique_ptr<Optimizer> (*make)(const Parameters&, const OptimizerOptions& shared, const Settings& settings);
};
constexpr std::array kKinds{Kind{"adamw", &adamw_defaults, &make_adamw}, Kind{"sgd", &sgd_defaults, &make_sgd}};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Kind& find_kind(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return kind;
  }
  throw InputError(concat("optimizer: unknown name \"", name, "\"; valid are ", join(optimizer_names())));
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

Settings default_settings(const std::string& name) { return find_kind(name).defaults(); }

std::unique_ptr<Optimizer> make_optimizer(const Parameters& parameters, const OptimizerConfig& config) {
  const Kind& kind = find_kind(config.name);
  Settings settings = kind.defaults();
  for (const auto& [key, value] : config.settings) {
    const auto setting = settings.find(key);
    if (setting == settings.end()) {
      std::vector<std::string> valid;
      for (const auto& [name, unused] : settings) valid.push_back(name);
      throw InputError(concat(config.name, ": unknown setting \"", key, "\"; valid are ", join(valid)));
    }
    setting->second = value;
  }
  OptimizerOptions shared{settings.at("lr"), settings.at("weight_decay"), config.decayed, config.groups,
                          config.allow_missing_gradients};
  return kind.make(parameters, shared, settings);
}

}  // namespace ashlar::optim
