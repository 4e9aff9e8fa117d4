#include "optim/schedule.h"

#include <cmath>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::optim;
using test::says;

namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-14; }

// Of step `step` in a run of 100.
double factor(Decay decay, int step, double warmup, double final_fraction = 0) {
  return lr_factor_at(decay, {step / 100., (step + 1) / 100.}, warmup, final_fraction);
}

}  // namespace

TEST_CASE("warm-up rises from its first step to one and the decay starts there") {
  for (const Decay decay : {Decay::constant, Decay::linear, Decay::cosine}) {
    for (int step = 0; step < 10; ++step) REQUIRE(near(factor(decay, step, 0.1), (step + 1) / 10.));
    REQUIRE(near(factor(decay, 10, 0.1), 1));
    REQUIRE(near(factor(decay, 0, 0), 1));
    // A warm-up that ends within a step, and one that is shorter than any.
    REQUIRE(near(factor(decay, 9, 0.095), 1));
    REQUIRE(near(factor(decay, 8, 0.095), 0.09 / 0.095));
    REQUIRE(near(factor(decay, 0, 0.001), 1));
    // A run of one step.
    REQUIRE(near(lr_factor_at(decay, {0, 1}, 0.05), 1));
  }
}

TEST_CASE("decays end at the final fraction, but no step is one of zero") {
  for (const Decay decay : {Decay::linear, Decay::cosine}) {
    REQUIRE(near(factor(decay, 55, 0.1, 0.2), 0.6));  // half way
    REQUIRE(near(factor(decay, 100, 0.1, 0.2), 0.2));
    REQUIRE(near(factor(decay, 700, 0.1, 0.2), 0.2));
    REQUIRE(factor(decay, 99, 0.04) > 0);
  }
  REQUIRE(near(factor(Decay::linear, 99, 0.04), 1 / 96.));
  REQUIRE(near(factor(Decay::linear, 28, 0.04), 0.75));
  REQUIRE(near(factor(Decay::cosine, 28, 0.04), 0.5 + std::sqrt(0.5) / 2));
  REQUIRE(near(factor(Decay::constant, 700, 0.04, 0.2), 1));
}

TEST_CASE("schedules refuse what is out of range") {
  REQUIRE(parse_decay("cosine") == Decay::cosine);
  REQUIRE(parse_decay("linear") == Decay::linear);
  REQUIRE(parse_decay("constant") == Decay::constant);
  REQUIRE_THROWS_WITH(parse_decay("cosin"),
                      "schedule: unknown decay 'cosin'; did you mean 'cosine'? Valid: constant, linear, cosine");
  const auto refuses = [](StepPlace step, double warmup, double final_fraction, const char* why) {
    REQUIRE_THROWS_WITH(lr_factor_at(Decay::cosine, step, warmup, final_fraction), says(concat("schedule: ", why)));
  };
  refuses({1, 1}, -0.1, 0, "the warm-up must be a share in [0, 1) of the run, got -0.1");
  refuses({0.5, 0.5}, 1, 0, "the warm-up must be a share in [0, 1) of the run, got 1");
  refuses({0.5, 0.5}, std::nan(""), 0, "the warm-up must be a share in [0, 1) of the run, got nan");
  refuses({1, 1}, 0, 1.5, "the final fraction must be in [0, 1], got 1.5");
  refuses({std::nan(""), 1}, 0, 0, "a step must end where it begins or later, got nan to 1");
  refuses({0, std::nan("")}, 0, 0, "a step must end where it begins or later, got 0 to nan");
  refuses({0.5, 0.4}, 0, 0, "a step must end where it begins or later, got 0.5 to 0.4");
}
