#include "examples/support/lr_search.h"

#include <algorithm>
#include <cmath>

#include "examples/support/format.h"

namespace ashlar::support {

std::optional<std::string> next_rate(std::vector<TriedRate> tried) {
  std::ranges::sort(tried, {}, &TriedRate::lr);
  const auto loss = [](const TriedRate& one) { return std::isfinite(one.loss) ? one.loss : INFINITY; };
  const auto best = std::ranges::min_element(tried, {}, loss);
  if (tried.size() < 2 || !std::isfinite(best->loss)) return std::nullopt;
  const bool lowest = best == tried.begin();
  if (!lowest && best != tried.end() - 1) return std::nullopt;
  constexpr double kFarthest = 10;
  const double neighbour = lowest ? best[1].lr : best[-1].lr;
  const double next = best->lr * std::clamp(best->lr / neighbour, 1 / kFarthest, kFarthest);
  const std::string text = printed("%.3g", next);
  const double rounded = std::stod(text);
  const bool beyond = lowest ? rounded < best->lr : rounded > best->lr;
  return beyond && rounded > 0 && std::isfinite(rounded) ? std::optional(text) : std::nullopt;
}

}  // namespace ashlar::support
