#include "examples/support/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ashlar::support {

std::size_t sample(const std::vector<float>& logits, const Sampling& s, double uniform) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::size_t kept = s.top_k > 0 ? std::min(order.size(), static_cast<std::size_t>(s.top_k)) : order.size();
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](std::size_t a, std::size_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  if (s.temperature == 0) return order[0];
  std::vector<double> weights(kept);
  for (std::size_t i = 0; i < kept; ++i) weights[i] = std::exp((logits[order[i]] - logits[order[0]]) / s.temperature);
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (s.top_p < 1) {  // where the sum of all rounds to that of fewer, 1 is still all
    const double least = s.top_p * total;
    total = weights[0];
    std::size_t nucleus = 1;
    while (nucleus < kept && total < least) total += weights[nucleus++];
    kept = nucleus;
  }
  double left = uniform * total;
  std::size_t choice = 0;
  while (choice + 1 < kept && left >= weights[choice]) left -= weights[choice++];
  return order[choice];
}

}  // namespace ashlar::support
