#include "tests/support/errors.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("block_diagonal satisfies the contract of linear maps, ragged and shuffled blocks included") {
  const std::vector<SuiteCase> cases{{"block_diagonal:blocks=1", 1, 1},
                                     {"block_diagonal:blocks=3", 12, 6},
                                     {"block_diagonal:blocks=4", 10, 11},
                                     {"block_diagonal:blocks=2,shuffle=1", 8, 6},
                                     {"block_diagonal:blocks=3,shuffle=1", 18, 36},
                                     {"block_diagonal:blocks=4,shuffle=1", 11, 10}};
  linear_map_suite(cases, 1e-15);
  for (const SuiteCase& c : cases) repeats_on_all_threads(c);
  initial_variance_matches("block_diagonal:blocks=4", 64, 96);
  initial_variance_matches("block_diagonal:blocks=4,shuffle=1", 96, 64);
}

TEST_CASE("block_diagonal equals a batch of plain products") {
  const Dim blocks = 3, p = 4, q = 6;
  const auto composite = [&](bool shuffle) {
    return [=](const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products) {
      const Dim rows = x.size(0);
      const Tensor shuffled = shuffle ? F::transpose(F::reshape(x, {rows, blocks, q}), 1, 2) : x;
      const Tensor slabs = F::permute(F::reshape(shuffled, {rows, blocks, q}), {1, 0, 2});
      const Tensor y = products.matmul(slabs, F::transpose(factors[0], 1, 2));  // (blocks, rows, p)
      return F::reshape(F::permute(y, {1, 0, 2}), {rows, blocks * p});
    };
  };
  matches_composite("block_diagonal:blocks=3", blocks * q, blocks * p, composite(false));
  matches_composite("block_diagonal:blocks=3,shuffle=1", blocks * q, blocks * p, composite(true));
}

TEST_CASE("block_diagonal projects by dropping what no block holds") {
  // Of a matrix of ones, a third is kept: the squared error is 2/3.
  Linear layer(Scope::root(DType::f64), 12, 6, "block_diagonal:blocks=3");
  REQUIRE(layer.map().project(Array::full({6, 12}, 1, DType::f64)) == Approx(std::sqrt(2.0 / 3)));
  const auto errors = projection_errors({"block_diagonal:blocks=8", "block_diagonal:blocks=4", "block_diagonal:blocks=2",
                                         "block_diagonal:blocks=1"}, 16, 24);
  for (std::size_t i = 1; i < errors.size(); ++i) REQUIRE(errors[i] < errors[i - 1]);
  REQUIRE(errors.back() == 0);
}

TEST_CASE("block_diagonal is what blast holds with factors of blocks and identities, to 1e-12") {
  const Dim blocks = 3, p = 4, q = 5;
  Linear layer(Scope::root(DType::f64, 1), blocks * q, blocks * p, "block_diagonal:blocks=3");
  Linear blast(Scope::root(DType::f64, 2), blocks * q, blocks * p, "blast:blocks=3,rank=5");
  const Parameters factors = blast.map().parameters();  // bias, U, V, S
  const Array v = Array::zeros({blocks, q, q}, DType::f64), s = Array::zeros({blocks, blocks, q}, DType::f64);
  for (Dim i = 0; i < blocks; ++i) {
    for (Dim k = 0; k < q; ++k) {
      v.data<double>()[(i * q + k) * q + k] = 1;
      s.data<double>()[(i * blocks + i) * q + k] = 1;
    }
  }
  copy(layer.map().parameters()[1].tensor.value(), factors[1].tensor.value());
  copy(v, factors[2].tensor.value());
  copy(s, factors[3].tensor.value());
  REQUIRE(relative_error(blast.map().to_dense(), layer.map().to_dense()) <= 1e-12);
}

TEST_CASE("block_diagonal: sizes by ratio, and errors that say what would fit") {
  const auto make = [](Dim in, Dim out, std::string_view spec) { return Linear(Scope::root(), in, out, spec).map().spec(); };
  REQUIRE(make(768, 3072, "block_diagonal:ratio=0.3") == "block_diagonal:blocks=4");
  REQUIRE(make(9, 9, "block_diagonal:ratio=0.5,shuffle=1") == "block_diagonal:blocks=3,shuffle=1");
  REQUIRE_THROWS_WITH(make(8, 6, "block_diagonal:blocks=7"),
                      says("layer 'block_diagonal:blocks=7' (8 -> 6): blocks must be from 1 to 6"));
  REQUIRE_THROWS_WITH(make(8, 8, "block_diagonal:ratio=0.1"), says("smallest possible ratio is 0.125 (blocks=8)"));
  REQUIRE_THROWS_WITH(make(8, 8, "block_diagonal:blocks=2,shuffle=2"), says("shuffle must be 0 or 1, got '2'"));
  REQUIRE_THROWS_WITH(make(8, 8, "block_diagonal:blocks=2,rank=2"), says("It takes blocks, ratio, shuffle, init"));
}
