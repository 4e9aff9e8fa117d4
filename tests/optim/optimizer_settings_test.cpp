// The settings of the optimizers by name: their ranges and their defaults.
#include <algorithm>
#include <sstream>

#include "core/files.h"
#include "core/text.h"
#include "optim/adamw.h"
#include "optim/make_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

TEST_CASE("settings out of range are refused") {
  const Parameters parameters{make_parameter("w", {3})};
  const auto message = [&](const std::string& name, const Settings& settings) {
    return message_of<InputError>([&] { make_optimizer(parameters, {.name = name, .settings = settings}); });
  };
  REQUIRE_THAT(message("sgd", {{"momentum", 1}}), says("momentum must be in [0, 1), got 1"));
  REQUIRE_THAT(message("sgd", {{"momentum", 0}, {"nesterov", 1}}), says("nesterov needs a momentum"));
  REQUIRE_THAT(message("sgd", {{"lr", -1}}), says("optimizer: lr of w must be finite and not negative, got -1"));
  REQUIRE_THAT(message("adamw", {{"lr", std::nan("")}}), says("lr of w must be finite"));
  REQUIRE_THAT(message("adamw", {{"beta2", 1}}), says("betas must be in [0, 1)"));
  REQUIRE_THAT(message("muon", {{"adamw_lr", -1}}), says("muon: adamw_lr must be finite and not negative, got -1"));
  for (const double eps : {-1.0, 0.0, 1e-50, std::nan("")}) {
    REQUIRE_THAT(message("adamw", {{"eps", eps}}), says("adamw: eps must be above zero"));
  }
  REQUIRE_THAT(message("adamw", {{"momentum", 0.9}}),
               says("adamw: unknown setting 'momentum'; Valid: beta1, beta2, eps, lr, weight_decay"));
  for (const char* name : {"soap", "shampoo", "precgd", "galore", "dct_adamw"}) {
    REQUIRE_THAT(message(name, {{"refresh_every", 2.5}}),
                 says(concat(name, ": refresh_every must be a whole number that is at least 1, got 2.5")));
  }
  REQUIRE_THAT(message("muon", {{"ns_steps", std::nan("")}}), says("muon: ns_steps must be a whole number"));
  for (const auto& [name, key] :
       {std::pair{"sgd", "nesterov"}, {"muon", "ns_bf16"}, {"shampoo", "graft"}, {"dct_adamw", "error_feedback"}}) {
    REQUIRE_THAT(message(name, {{key, 7}}), says(concat(name, ": ", key, " must be 0 or 1, got 7")));
  }
  REQUIRE_THAT(message("adamm", {}), says("unknown name 'adamm'; did you mean 'adamw'? Valid: adamw, "));
  AdamW adamw(parameters);
  set_gradients(parameters, 0);
  REQUIRE_THROWS_AS(adamw.step(1.0, std::nan("")), InputError);
}

TEST_CASE("the table of defaults in optim/README.md is what the optimizers have") {
  std::string text = read_file(ASHLAR_SOURCE_DIR "/optim/README.md");
  std::erase(text, '`');
  std::istringstream rows(text.substr(text.find("| setting |")));
  // "| name, name | value, value | …": the lists in the cells of a row.
  const auto cells_of = [](const std::string& row) {
    std::vector<std::vector<std::string>> cells;
    std::istringstream parts(row.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(split(cell, ','));
    return cells;
  };
  std::string row;
  std::getline(rows, row);
  const auto head = cells_of(row);
  std::vector<std::string> named;
  for (std::size_t i = 1; i < head.size(); ++i) named.push_back(head[i].at(0));
  std::vector<std::string> names = optimizer_names();
  std::ranges::sort(named);
  std::ranges::sort(names);
  REQUIRE(named == names);
  std::getline(rows, row);  // of dashes
  std::vector<Settings> told(head.size());
  while (std::getline(rows, row) && row.starts_with('|')) {
    const auto cells = cells_of(row);
    for (std::size_t i = 1; i < cells.size(); ++i) {
      for (std::size_t k = 0; k < cells[i].size(); ++k) told.at(i)[cells[0].at(k)] = std::stod(cells[i][k]);
    }
  }
  for (std::size_t i = 1; i < head.size(); ++i) {
    INFO(head[i][0]);
    CHECK(told[i] == default_settings(head[i][0]));
  }
}
