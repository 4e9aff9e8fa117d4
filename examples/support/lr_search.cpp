#include "examples/support/lr_search.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "examples/support/format.h"

namespace ashlar::support {

std::optional<std::string> next_rate(std::vector<TriedRate> tried) {
  std::ranges::sort(tried, {}, &TriedRate::lr);
  const auto loss = [](const TriedRate& one) { return std::isfinite(one.loss) ? one.loss : INFINITY; };
  const auto best = std::ranges::min_element(tried, {}, loss);
  if (tried.size() < 2 || !std::isfinite(best->loss)) return std::nullopt;
  const bool lowest = best == tried.begin();
  if (!lowest && best != tried.end() - 1) return std::nullopt;
  const TriedRate& neighbour = lowest ? best[1] : best[-1];
  // Where a loss does not tell the rates apart, nothing says that there is a better one beyond.
  constexpr double kFarthest = 10, kTells = 1e-3;
  if (loss(neighbour) - best->loss <= kTells * std::abs(best->loss)) return std::nullopt;
  const double next = best->lr * std::clamp(best->lr / neighbour.lr, 1 / kFarthest, kFarthest);
  const std::string text = printed("%.3g", next);
  const double rounded = std::strtod(text.c_str(), nullptr);
  const bool beyond = lowest ? rounded < best->lr : rounded > best->lr;
  return beyond && rounded > 0 && std::isfinite(rounded) ? std::optional(text) : std::nullopt;
}

}  // namespace ashlar::support
