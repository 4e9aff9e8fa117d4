// Drawing a token from logits.
#include "examples/support/sampling.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace ashlar::support;

namespace {

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3);
  return logits;
}

// The share of each token among evenly spaced draws.
std::vector<double> shares(const std::vector<float>& logits, const Sampling& sampling) {
  constexpr int kDraws = 10000;
  std::vector<double> result(logits.size(), 0.0);
  for (int i = 0; i < kDraws; ++i) result[sample(logits, sampling, (i + 0.5) / kDraws)] += 1.0 / kDraws;
  return result;
}

void check_shares(const std::vector<float>& logits, const Sampling& sampling, const std::vector<double>& expected) {
  const std::vector<double> found = shares(logits, sampling);
  CAPTURE(sampling.temperature, sampling.top_k, sampling.top_p, found, expected);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 2e-4);
}

}  // namespace

TEST_CASE("tokens are drawn with their probabilities, those of the likeliest that are left in proportion") {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.3, 0.2});
  const auto expect = [&](Sampling sampling, const std::vector<double>& expected) { check_shares(logits, sampling, expected); };
  expect({.temperature = 1, .top_k = 0}, {0.1, 0.4, 0.3, 0.2});
  expect({.temperature = 1, .top_k = 2}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 1, .top_k = 9}, {0.1, 0.4, 0.3, 0.2});
  expect({.temperature = 0.5, .top_k = 0}, {1.0 / 30, 16.0 / 30, 9.0 / 30, 4.0 / 30});
  // The fewest that have the share: 0.4, 0.7, 0.9, 1.
  expect({.temperature = 1, .top_k = 0, .top_p = 0.39}, {0, 1, 0, 0});
  expect({.temperature = 1, .top_k = 0, .top_p = 0.41}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 1, .top_k = 0, .top_p = 0.71}, {0, 4.0 / 9, 3.0 / 9, 2.0 / 9});
  expect({.temperature = 1, .top_k = 0, .top_p = 0.91}, {0.1, 0.4, 0.3, 0.2});
  // Shares are of what --top-k leaves (0.57, 1) and after the temperature (0.53, 0.83, 0.97, 1).
  expect({.temperature = 1, .top_k = 2, .top_p = 0.5}, {0, 1, 0, 0});
  expect({.temperature = 1, .top_k = 2, .top_p = 0.6}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 0.5, .top_k = 0, .top_p = 0.5}, {0, 1, 0, 0});
  expect({.temperature = 0.5, .top_k = 0, .top_p = 0.8}, {0, 16.0 / 25, 9.0 / 25, 0});
}

TEST_CASE("the fewest tokens of a share are enough where they have just it, and one is left of the smallest") {
  const std::vector<float> equal(4, 2.0F);  // whose probabilities add without rounding
  check_shares(equal, {.temperature = 1, .top_k = 0, .top_p = 0.5}, {0.5, 0.5, 0, 0});
  check_shares(equal, {.temperature = 1, .top_k = 0, .top_p = 0.51}, {1.0 / 3, 1.0 / 3, 1.0 / 3, 0});
  check_shares(equal, {.temperature = 1, .top_k = 0, .top_p = 0}, {1, 0, 0, 0});
}

TEST_CASE("the likeliest token is the first of the largest logits, and no draw is beyond the last") {
  const std::vector<float> logits{1, 5, -2, 5};
  for (const double uniform : {0.0, 0.5, std::nextafter(1.0, 0.0)}) {
    CHECK(sample(logits, {.temperature = 0, .top_k = 0, .top_p = 0.1}, uniform) == 1);
    CHECK(sample(logits, {.temperature = 1e-300}, 0) == 1);
    CHECK(sample({3.0F}, {}, uniform) == 0);
  }
  // Beside a weight of 1 each of the small ones is rounded up, and their sum is more than they are.
  std::vector<float> steep(9, -36.3F);
  steep[0] = 0;
  CHECK(sample(steep, {.temperature = 1, .top_k = 0}, std::nextafter(1.0, 0.0)) == 8);
}
