#include "kernels/linalg/linalg.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("monarch satisfies the contract of linear maps, ragged blocks and the paper's order included") {
  const std::vector<SuiteCase> cases{{"monarch:blocks=1", 1, 1},
                                     {"monarch:blocks=2", 12, 8},
                                     {"monarch:blocks=3,rank=6", 12, 21},
                                     {"monarch:blocks=3", 10, 11},
                                     {"monarch:blocks=4", 17, 9},
                                     {"monarch:blocks=2,interleaved=1", 8, 12},
                                     {"monarch:blocks=3,rank=6,interleaved=1", 10, 11}};
  linear_map_suite(cases, 1e-12);
  for (const SuiteCase& c : cases) repeats_on_all_threads(c);
  initial_variance_matches("monarch:blocks=4", 64, 96);
  initial_variance_matches("monarch:blocks=4,interleaved=1", 96, 64);
  initial_variance_matches("monarch:blocks=8,rank=16", 17, 96);
}

TEST_CASE("monarch equals its two block-diagonal products with the hidden features permuted between") {
  const Dim blocks = 3, c = 2, p = 4, q = 5, rank = blocks * c;
  const auto composite = [&](bool interleaved) {
    return [=](const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products) {
      const Dim rows = x.size(0);
      const Tensor slabs = F::permute(F::reshape(x, {rows, blocks, q}), {1, 0, 2});
      const Tensor a = products.matmul(slabs, F::transpose(factors[0], 1, 2));  // (j, rows, rank)
      // rank is (i, c) for the contiguous order and (c, i) for the paper's
      const Tensor split = interleaved ? F::permute(F::reshape(a, {blocks, rows, c, blocks}), {3, 1, 0, 2})
                                       : F::permute(F::reshape(a, {blocks, rows, blocks, c}), {2, 1, 0, 3});
      const Tensor h = F::reshape(split, {blocks, rows, rank});                 // (i, rows, (j, c))
      const Tensor y = products.matmul(h, F::transpose(factors[1], 1, 2));      // (i, rows, p)
      return F::reshape(interleaved ? F::permute(y, {1, 2, 0}) : F::permute(y, {1, 0, 2}), {rows, blocks * p});
    };
  };
  matches_composite("monarch:blocks=3,rank=6", blocks * q, blocks * p, composite(false));
  matches_composite("monarch:blocks=3,rank=6,interleaved=1", blocks * q, blocks * p, composite(true));
}

TEST_CASE("monarch projects with an error of exactly the singular values that its blocks leave out") {
  const Dim in = 12, out = 18, blocks = 3, p = 6, q = 4;
  const Array dense = randn({out, in}, DType::f64, 3);
  for (const bool interleaved : {false, true}) {
    double previous = 1;
    for (Dim c = 1; c <= q; ++c) {
      double left_out = 0;
      for (Dim i = 0; i < blocks; ++i) {
        for (Dim j = 0; j < blocks; ++j) {
          const Array rows = interleaved ? dense.reshape({p, blocks, in}).select(1, i) : dense.slice(0, i * p, i * p + p);
          const Array s = linalg::svd(rows.slice(1, j * q, j * q + q)).s;
          for (Dim k = c; k < q; ++k) left_out += s.data<double>()[k] * s.data<double>()[k];
        }
      }
      const std::string spec = concat("monarch:blocks=3,rank=", blocks * c, interleaved ? ",interleaved=1" : "");
      const double error = Linear(Scope::root(DType::f64), in, out, spec).map().project(dense);
      INFO(spec);
      REQUIRE(std::abs(error - std::sqrt(left_out) / linalg::frobenius(dense)) <= 1e-12);
      REQUIRE(error <= previous);
      previous = error;
    }
    REQUIRE(previous <= 1e-12);
  }
}

TEST_CASE("monarch: sizes by ratio, and errors that say what would fit") {
  const auto make = [](Dim in, Dim out, std::string_view spec) { return Linear(Scope::root(), in, out, spec).map().spec(); };
  REQUIRE(make(384, 384, "monarch:blocks=4") == "monarch:blocks=4,rank=96");
  REQUIRE(make(384, 384, "monarch:ratio=0.5") == "monarch:blocks=4,rank=96");
  REQUIRE(make(384, 384, "monarch:blocks=4,ratio=0.3") == "monarch:blocks=4,rank=56");
  REQUIRE(make(96, 96, "monarch:blocks=3,ratio=0.6,interleaved=1") == "monarch:blocks=3,rank=24,interleaved=1");
  REQUIRE(make(10, 11, "monarch:blocks=3") == "monarch:blocks=3,rank=6");
  REQUIRE_THROWS_WITH(make(8, 6, "monarch:blocks=7"), says("(8 -> 6): blocks must be from 1 to 6"));
  REQUIRE_THROWS_WITH(make(8, 6, "monarch:blocks=2,rank=7"), says("rank must be from 1 to 6"));
  REQUIRE_THROWS_WITH(make(8, 8, "monarch:blocks=2,rank=5"), says("rank must be a multiple of blocks; 4 would fit"));
  REQUIRE_THROWS_WITH(make(64, 64, "monarch:blocks=4,ratio=0.1"), says("smallest possible ratio is 0.25 (rank 8)"));
  REQUIRE_THROWS_WITH(make(8, 8, "monarch:rank=4"), says("monarch needs blocks=… or ratio=…"));
}
