#include "optim/make_optimizer.h"

#include <array>
#include <cmath>

#include "core/text.h"

namespace ashlar::optim {
namespace {

constexpr std::array kKinds{&kAdamW, &kDctAdamW, &kGalore, &kMuon, &kPrecGd, &kScaledGd, &kSgd, &kShampoo, &kSoap};

const OptimizerKind& find_kind(const std::string& name) {
  for (const OptimizerKind* kind : kKinds) {
    if (name == kind->name) return *kind;
  }
  throw InputError(concat("optimizer: unknown name '", name, "'; ", did_you_mean(name, optimizer_names()), "Valid: ",
                          join(optimizer_names())));
}

}  // namespace

void set_setting(std::string_view, std::string_view, double& setting, double number) { setting = number; }

void set_setting(std::string_view optimizer, std::string_view key, Dim& setting, double number) {
  ASHLAR_CHECK(number >= 1 && number <= 1e9 && std::trunc(number) == number, optimizer, ": ", key,
               " must be a whole number that is at least 1, got ", number);
  setting = static_cast<Dim>(number);
}

void set_setting(std::string_view optimizer, std::string_view key, bool& setting, double number) {
  ASHLAR_CHECK(number == 0 || number == 1, optimizer, ": ", key, " must be 0 or 1, got ", number);
  setting = number == 1;
}

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const OptimizerKind* kind : kKinds) names.emplace_back(kind->name);
  return names;
}

Settings default_settings(const std::string& name) { return find_kind(name).defaults(); }

std::unique_ptr<Optimizer> make_optimizer(const Parameters& parameters, const OptimizerConfig& config) {
  const OptimizerKind& kind = find_kind(config.name);
  Settings settings = kind.defaults();
  for (const auto& [key, value] : config.settings) {
    const auto setting = settings.find(key);
    if (setting == settings.end()) {
      std::vector<std::string> valid;
      for (const auto& [name, unused] : settings) valid.push_back(name);
      throw InputError(concat(config.name, ": unknown setting '", key, "'; ", did_you_mean(key, valid), "Valid: ", join(valid)));
    }
    setting->second = value;
  }
  return kind.make(kind.name, parameters, config.parameters, settings);
}

}  // namespace ashlar::optim
