#include "optim/schedule.h"

#include <cmath>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::optim;

namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-14; }

}  // namespace

TEST_CASE("warm-up rises to one and the decay starts there") {
  for (const Decay decay : {Decay::constant, Decay::linear, Decay::cosine}) {
    REQUIRE(near(lr_factor_at(decay, 0, 0.1), 0));
    REQUIRE(near(lr_factor_at(decay, 0.05, 0.1), 0.5));
    REQUIRE(near(lr_factor_at(decay, 0.1, 0.1), 1));
    REQUIRE(near(lr_factor_at(decay, 0, 0), 1));
  }
}

TEST_CASE("decays end at the final fraction and stay there") {
  for (const Decay decay : {Decay::linear, Decay::cosine}) {
    REQUIRE(near(lr_factor_at(decay, 0.55, 0.1, 0.2), 0.6));  // half way
    REQUIRE(near(lr_factor_at(decay, 1, 0.1, 0.2), 0.2));
    REQUIRE(near(lr_factor_at(decay, 7, 0.1, 0.2), 0.2));
    REQUIRE(lr_factor_at(decay, 0.99, 0.04) > 0);
  }
  REQUIRE(near(lr_factor_at(Decay::linear, 0.28, 0.04), 0.75));
  REQUIRE(near(lr_factor_at(Decay::cosine, 0.28, 0.04), 0.5 + std::sqrt(0.5) / 2));
  REQUIRE(near(lr_factor_at(Decay::constant, 7, 0.04, 0.2), 1));
}

TEST_CASE("schedules refuse what is out of range") {
  REQUIRE(parse_decay("cosine") == Decay::cosine);
  REQUIRE(parse_decay("linear") == Decay::linear);
  REQUIRE(parse_decay("constant") == Decay::constant);
  REQUIRE_THROWS_WITH(parse_decay("cosin"),
                      "schedule: unknown decay \"cosin\"; use constant, linear or cosine");
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 1, -0.1), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 1, 0, 1.5), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, std::nan(""), 0), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 0.5, 1), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 0.5, std::nan("")), InputError);
}
