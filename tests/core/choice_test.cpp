#include "core/choice.h"

#include "tests/support/catch.h"
#include "tests/support/environment.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("a setting in the environment is one of its choices, or the first") {
  const auto choice = [] { return environment_choice("ASHLAR_TEST_CHOICE", {"some", "all"}, "how many"); };
  CHECK(choice() == "some");
  {
    const EnvironmentVariable empty("ASHLAR_TEST_CHOICE", "");
    CHECK(choice() == "some");
  }
  {
    const EnvironmentVariable set("ASHLAR_TEST_CHOICE", "all");
    CHECK(choice() == "all");
  }
  const EnvironmentVariable wrong("ASHLAR_TEST_CHOICE", "al");
  CHECK(error_of(choice) == "ASHLAR_TEST_CHOICE is al; valid: some, all (how many)");
}
