// Drawing the next token from the logits of a model.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ashlar::support {

// Which tokens are drawn among, and how much likelier ones are preferred.
struct Sampling {
  double temperature = 0.8;  // 0: always the likeliest
  std::int64_t top_k = 40;   // the likeliest; 0: all
  double top_p = 1;          // of these the fewest likeliest with this share of the probability at least; 1: all
};

// The place of one of the `logits`, which are finite and at least one, drawn from softmax(logits / temperature) over the top_k
// largest and of these, as nucleus sampling does (Holtzman et al. 2020), the fewest whose probabilities add to top_p or more:
// the first one where the probabilities up to it exceed `uniform`, in [0, 1). Of equal logits the first is the likelier.
std::size_t sample(const std::vector<float>& logits, const Sampling& sampling, double uniform);

}  // namespace ashlar::support
