// ParamInfo::lr_scale of every kind, from the formulas of muP for structured matrices (Adam, relative to dense).
#include <algorithm>

#include "layers/linear_map.h"
#include "tests/support/catch.h"

using namespace ashlar;

namespace {

double lr_scale(std::string_view spec, Dim in, Dim out, const std::string& factor) {
  const Linear layer(Scope::root(), in, out, spec);
  for (const Parameter& p : layer.map().parameters()) {
    if (p.name == factor) return p.info.lr_scale;
  }
  throw Error(concat(spec, " has no factor ", factor));
}

}  // namespace

TEST_CASE("lr_scale is in / (fan-in of the factor, number of factors)") {
  const Dim in = 96, out = 48;
  REQUIRE(lr_scale("dense", in, out, "weight") == 1);
  REQUIRE(lr_scale("low_rank:rank=12", in, out, "V") == 0.5);
  REQUIRE(lr_scale("low_rank:rank=12", in, out, "U") == 96.0 / (2 * 12));
  for (const std::string order : {"", ",interleaved=1"}) {
    REQUIRE(lr_scale("monarch:blocks=4,rank=16" + order, in, out, "R") == 4.0 / 2);
    REQUIRE(lr_scale("monarch:blocks=4,rank=16" + order, in, out, "L") == 96.0 / (2 * 16));
  }
  REQUIRE(lr_scale("blast:out_blocks=3,in_blocks=6,rank=16", in, out, "V") == 6.0 / 3);
  REQUIRE(lr_scale("blast:out_blocks=3,in_blocks=6,rank=16", in, out, "U") == 96.0 / (3 * 16));
  REQUIRE(lr_scale("blast:out_blocks=3,in_blocks=6,rank=16", in, out, "S") == Approx(16.0 / 3));
  REQUIRE(lr_scale("block_diagonal:blocks=4", in, out, "B") == 4);
  REQUIRE(lr_scale("block_diagonal:blocks=4,shuffle=1", in, out, "B") == 4);
  REQUIRE(lr_scale("ss1:reduction=4", in, out, "Z") == 1);
  REQUIRE(lr_scale("ss1:reduction=4,classes=2", in, out, "Z") == 1);
}

TEST_CASE("every factor tells optimizers which matrices it consists of") {
  struct Case {
    const char *spec, *factor;
    Dim fan_in, fan_out;
    int batch_dims;
    Role role = Role::matrix;
  };
  const Dim in = 96, out = 48;
  for (const Case& c : {Case{"dense", "weight", in, out, 0},
                        {"low_rank:rank=12", "V", in, 12, 0},
                        {"low_rank:rank=12", "U", 12, out, 0},
                        {"monarch:blocks=4,rank=16", "R", in / 4, 16, 1},
                        {"monarch:blocks=4,rank=16", "L", 16, out / 4, 1},
                        {"blast:out_blocks=3,in_blocks=6,rank=20", "V", in / 6, 20, 1},
                        {"blast:out_blocks=3,in_blocks=6,rank=20", "U", 20, out / 3, 1},
                        {"blast:out_blocks=3,in_blocks=6,rank=20", "S", 6, 3, 0, Role::coupling},
                        {"block_diagonal:blocks=4", "B", in / 4, out / 4, 1},
                        {"ss1:reduction=4", "Z", in, out, 0}}) {
    INFO(c.spec << " " << c.factor);
    const Linear layer(Scope::root(), in, out, c.spec);
    const Parameters all = layer.map().parameters();
    const auto found = std::ranges::find(all, c.factor, &Parameter::name);
    REQUIRE(found != all.end());
    CHECK(found->info.fan_in == c.fan_in);
    CHECK(found->info.fan_out == c.fan_out);
    CHECK(found->info.batch_dims == c.batch_dims);
    CHECK(found->info.role == c.role);
  }
}

TEST_CASE("lr_scale is at most kMostLrScale, and 1 for what is no factor") {
  REQUIRE(lr_scale("blast:blocks=2,rank=8", 768, 768, "S") == kMostLrScale);  // 768 / (2 · 3) = 128
  REQUIRE(lr_scale("low_rank:rank=8", 768, 768, "U") == kMostLrScale);
  REQUIRE(lr_scale("low_rank:rank=8", 768, 768, "bias") == 1);
}
