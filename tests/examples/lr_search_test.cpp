// Which learning rate is tried next.
#include "examples/support/lr_search.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace ashlar::support;

TEST_CASE("a rate beyond the end at which the lowest loss stands is tried, one step of the rates away") {
  CHECK(next_rate({{0.003, 1.4}, {0.01, 1.3}}) == "0.0333");
  CHECK(next_rate({{0.003, 1.3}, {0.01, 1.4}}) == "0.0009");
  CHECK(next_rate({{0.02, 1.2}, {0.01, 1.3}, {0.005, 1.4}}) == "0.04");  // in any order
  CHECK(next_rate({{0.02, 1.4}, {0.01, 1.3}, {0.004, 1.2}}) == "0.0016");
  CHECK(next_rate({{1e-4, 1.3}, {0.1, 1.4}}) == "1e-05");  // at most ten-fold
  CHECK(next_rate({{1e-4, 1.4}, {0.1, 1.3}}) == "1");
}

TEST_CASE("the search ends where the lowest loss has neighbours, and where there is nothing to follow") {
  CHECK_FALSE(next_rate({{0.003, 1.4}, {0.01, 1.3}, {0.0333, 1.35}}));
  CHECK_FALSE(next_rate({{0.0333, NAN}, {0.01, 1.3}, {0.003, 1.4}}));  // diverged
  CHECK_FALSE(next_rate({{0.003, NAN}, {0.01, NAN}}));
  CHECK_FALSE(next_rate({{0.01, 1.3}}));
  CHECK_FALSE(next_rate({}));
  CHECK_FALSE(next_rate({{0.01, 1.3}, {0.01, 1.3}}));
  CHECK_FALSE(next_rate({{0.003, 2.2605}, {0.01, 2.2605}}));  // the loss tells nothing
  CHECK_FALSE(next_rate({{0.003, 2.2605}, {0.01, 2.2612}}));
  CHECK(next_rate({{0.003, 2.2605}, {0.01, 2.2635}}) == "0.0009");
  CHECK_FALSE(next_rate({{1e-323, 1.3}, {1e-300, 1.4}}));  // beyond the smallest number
}

TEST_CASE("rates that diverge at one end are followed at the other") {
  CHECK(next_rate({{0.01, 1.3}, {0.1, NAN}}) == "0.001");
}
