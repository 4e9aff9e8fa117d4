// A model that needs no time.
#pragma once
#include "layers/transformer.h"

namespace ashlar::test {

struct SmallNet : Module {
  explicit SmallNet(const Scope& scope) : Module(scope), fc(sub("fc"), 5, 4) {}
  Linear fc;
};

}  // namespace ashlar::test
