// A clock that the test moves.
#pragma once
#include "examples/support/run_limits.h"

namespace ashlar::testing {

struct TestClock {
  double now = 1000;  // seconds
  support::Clock clock() {
    return [this] { return now; };
  }
};

}  // namespace ashlar::testing
