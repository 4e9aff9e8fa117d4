// A clock that the test moves.
#pragma once
#include "examples/support/run_limits.h"

namespace ashlar::test {

struct TestClock {
  double now = 1000;  // seconds
  support::Clock clock() {
    return [this] { return now; };
  }
};

}  // namespace ashlar::test
