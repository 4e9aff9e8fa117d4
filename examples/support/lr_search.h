// The search for the best learning rate, which ends within the rates that were tried and not at an end of them.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace ashlar::support {

struct TriedRate {
  double lr;
  double loss;  // NaN: it diverged
};

// The rate to try next, as text: where the lowest loss is at an end of at least two rates, in any order, one beyond it, as far
// away as its neighbour, but at most ten-fold. Nothing where the lowest has neighbours on both sides, is hardly lower than the
// one that it has (a thousandth), or no loss is finite.
std::optional<std::string> next_rate(std::vector<TriedRate> tried);

}  // namespace ashlar::support
