#include "optim/schedule.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::optim;

namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-14; }

}  // namespace

TEST_CASE("warm-up rises to one and the decay starts there") {
  for (const Decay decay : {Decay::constant, Decay::linear, Decay::cosine}) {
    REQUIRE(near(lr_factor(decay, 0, 4, 100), 0.2));
    REQUIRE(near(lr_factor(decay, 3, 4, 100), 0.8));
    REQUIRE(near(lr_factor(decay, 4, 4, 100), 1));
    REQUIRE(near(lr_factor(decay, 0, 0, 100), 1));
    REQUIRE(near(lr_factor_at(decay, 0.05, 0.1), 0.5));
    REQUIRE(near(lr_factor_at(decay, 0.1, 0.1), 1));
    REQUIRE(near(lr_factor_at(decay, 0, 0), 1));
  }
}

TEST_CASE("decays end at the final fraction and stay there") {
  for (const Decay decay : {Decay::linear, Decay::cosine}) {
    REQUIRE(near(lr_factor(decay, 52, 4, 100, 0.2), 0.6));  // half way
    REQUIRE(near(lr_factor(decay, 100, 4, 100, 0.2), 0.2));
    REQUIRE(near(lr_factor(decay, 1000, 4, 100, 0.2), 0.2));
    REQUIRE(near(lr_factor_at(decay, 0.55, 0.1, 0.2), 0.6));
    REQUIRE(near(lr_factor_at(decay, 1, 0.1, 0.2), 0.2));
    REQUIRE(near(lr_factor_at(decay, 7, 0.1, 0.2), 0.2));
    REQUIRE(lr_factor(decay, 99, 4, 100) > 0);
  }
  REQUIRE(near(lr_factor(Decay::linear, 28, 4, 100), 0.75));
  REQUIRE(near(lr_factor(Decay::cosine, 28, 4, 100), 0.5 + std::sqrt(0.5) / 2));
  REQUIRE(near(lr_factor(Decay::constant, 1000, 4, 100, 0.2), 1));
}

TEST_CASE("the two forms of a schedule have the same shape") {
  for (const Decay decay : {Decay::constant, Decay::linear, Decay::cosine}) {
    for (Dim step = 10; step <= 100; step += 7) {
      const double progress = static_cast<double>(step) / 100;
      REQUIRE(near(lr_factor(decay, step, 10, 100, 0.1), lr_factor_at(decay, progress, 0.1, 0.1)));
    }
  }
}

TEST_CASE("a warm-up that fills the run is allowed") {
  REQUIRE(near(lr_factor(Decay::cosine, 9, 10, 10), 10.0 / 11));
  REQUIRE(near(lr_factor(Decay::cosine, 10, 10, 10), 1));
  REQUIRE(near(lr_factor(Decay::cosine, 0, 50, 10), 1.0 / 51));
}

TEST_CASE("schedules refuse what is out of range") {
  REQUIRE(parse_decay("cosine") == Decay::cosine);
  REQUIRE(parse_decay("linear") == Decay::linear);
  REQUIRE(parse_decay("constant") == Decay::constant);
  REQUIRE_THROWS_WITH(parse_decay("cosin"),
                      "schedule: unknown decay \"cosin\"; use constant, linear or cosine");
  REQUIRE_THROWS_AS(lr_factor(Decay::cosine, -1, 0, 10), InputError);
  REQUIRE_THROWS_AS(lr_factor(Decay::cosine, 1, -1, 10), InputError);
  REQUIRE_THROWS_AS(lr_factor(Decay::cosine, 1, 0, 0), InputError);
  REQUIRE_THROWS_AS(lr_factor(Decay::cosine, 1, 0, 10, 1.5), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, std::nan(""), 0), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 0.5, 1), InputError);
  REQUIRE_THROWS_AS(lr_factor_at(Decay::cosine, 0.5, std::nan("")), InputError);
}
