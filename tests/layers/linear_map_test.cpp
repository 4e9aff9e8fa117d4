#include "core/safetensors.h"
#include "kernels/linalg/linalg.h"
#include "layers/linear_spec.h"
#include "tests/support/errors.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// W = diag(d), a kind that no spec names.
class Diagonal final : public LinearMap {
 public:
  Diagonal(const Scope& scope, Dim size, const LinearOptions& options)
      : LinearMap(scope, size, size, options), d_(param("d", {size}, init::normal(1), {})) {}
  Array to_dense() const override {
    Array dense = Array::zeros({in_features(), in_features()}, DType::f64);
    const Array d = on_host(d_);
    for (Dim i = 0; i < in_features(); ++i) dense.data<double>()[i * in_features() + i] = d.data<double>()[i];
    return dense;
  }
  LinearCost cost(Dim rows) const override { return {.params = in_features(), .macs_forward = rows * in_features()}; }
  std::string spec() const override { return "diagonal"; }

 protected:
  void fit(const Array&, const ProjectionOptions&) override {}
  Tensor forward(const Tensor& x, const Tensor& bias) const override { return x * d_ + bias; }

 private:
  Tensor d_;  // (size)
};

}  // namespace

TEST_CASE("a map of the user's own takes the place of one by a spec in a model") {
  struct Net : Module {
    explicit Net(const Scope& s)
        : Module(s), first(std::make_unique<Diagonal>(sub("first"), 6, LinearOptions{})), second(sub("second"), 6, 2) {}
    Linear first, second;
  };
  Net net(Scope::root(DType::f64, 1));
  const Tensor x = Tensor::leaf(randn({3, 6}, DType::f64, 1));
  const Tensor expected = F::matmul(x, F::transpose(Tensor(net.first.map().to_dense()), 0, 1));
  REQUIRE(relative_error(net.first(x).value(), expected.value()) <= 1e-15);  // the bias begins as 0
  std::vector<std::string> names;
  for (const Parameter& parameter : net.parameters()) names.push_back(parameter.name);
  REQUIRE(names == std::vector<std::string>{"first.bias", "first.d", "second.bias", "second.weight"});
  REQUIRE(cost_of(net).linear_parameters == 6 + 12);
  REQUIRE(contains(error_of<Error>([] { Linear(std::unique_ptr<LinearMap>()); }), "Linear: there is no map"));
}

TEST_CASE("a map whose output has another shape or dtype than it must is told so") {
  // y = x Aᵀ, which as A xᵀ has the dtype of A.
  struct Turned final : LinearMap {
    Turned(const Scope& scope, Dim size, bool turn_back)
        : LinearMap(scope, size, size, {}), a(param("a", {size, size}, init::normal(1), {})), back(turn_back) {}
    Array to_dense() const override { return on_host(a); }
    LinearCost cost(Dim) const override { return {}; }
    std::string spec() const override { return "turned"; }
    void fit(const Array&, const ProjectionOptions&) override {}
    Tensor forward(const Tensor& x, const Tensor&) const override {
      const Tensor y = F::matmul(a, F::transpose(x, 0, 1));
      return back ? F::transpose(y, 0, 1) : y;
    }
    Tensor a;
    bool back;
  };
  const auto error = [](bool back, DType dtype) {
    return error_of<InputError>([&] { Turned(Scope::root(DType::f32, 1), 4, back)(Tensor::leaf(randn({3, 4}, dtype, 1))); });
  };
  REQUIRE(error(true, DType::f32).empty());
  REQUIRE(contains(error(false, DType::f32), "(turned): forward of x (3, 4) f32 must be (rows, out) = (3, 4) of the same dtype, and is (4, 3) f32"));
  REQUIRE(contains(error(true, DType::bf16), "and is (3, 4) f32; factors are kept in f32: F::cast(factor, x.dtype())"));
  const Turned turned(Scope::root(DType::f32, 1), 4, true);
  const Tensor x = Tensor::leaf(randn({3, 4}, DType::bf16, 1));
  REQUIRE(contains(error_of<InputError>([&] { turned.then_gelu(x, kernels::Gelu::tanh); }), "and is (3, 4) f32; factors are kept"));
  REQUIRE(contains(error_of<InputError>([&] { turned(F::activate(x, kernels::Gelu::tanh)); }), "and is (3, 4) f32; factors are kept"));
}

TEST_CASE("dense satisfies the contract of linear maps") {
  linear_map_suite({{"dense", 1, 1}, {"dense", 7, 5}, {"dense", 16, 33}}, 0.0);
  initial_variance_matches("dense", 64, 96);
}

TEST_CASE("every kind before and behind GELU has the bits of the map and GELU one by one, and is observed once") {
  for (const char* spec : {"dense", "low_rank:rank=3", "monarch:blocks=2", "blast:blocks=2,rank=3", "ss1:reduction=2",
                           "block_diagonal:blocks=2"}) {
    INFO(spec);
    const auto results = [&](const auto& f) {
      Linear layer(Scope::root(DType::f32, 3), 8, 12, spec);
      int observed = 0;
      layer.map().observe([&](const Array& rows) {
        ++observed;
        REQUIRE(rows.shape() == Shape{15, 8});
      });
      const Tensor x = Tensor::leaf(randn({3, 5, 8}, DType::f32, 1));
      const Tensor y = f(layer, x);
      y.backward(randn({3, 5, 12}, DType::f32, 2));
      REQUIRE(observed == 1);
      std::vector<Array> arrays{y.value(), x.grad()};
      for (const Parameter& parameter : layer.map().parameters()) arrays.push_back(parameter.tensor.grad());
      return arrays;
    };
    constexpr auto kGelu = kernels::Gelu::tanh;
    const auto got = results([](const Linear& layer, const Tensor& x) { return F::gelu(layer.then_gelu(x, kGelu)); });
    const auto expected = results([](const Linear& layer, const Tensor& x) { return F::gelu(layer(x), kGelu); });
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      REQUIRE(bitwise_equal(got[i], expected[i]));
    }
    const auto of_known = results([](const Linear& layer, const Tensor& x) { return layer(F::activate(x, kGelu)); });
    const auto of_gelu = results([](const Linear& layer, const Tensor& x) { return layer(F::gelu(x, kGelu)); });
    for (std::size_t i = 0; i < of_gelu.size(); ++i) {
      CAPTURE(i);
      REQUIRE(bitwise_equal(of_known[i], of_gelu[i]));
    }
  }
}

TEST_CASE("low_rank satisfies the contract of linear maps") {
  linear_map_suite({{"low_rank:rank=1", 1, 1}, {"low_rank:rank=3", 7, 5}, {"low_rank:rank=8", 16, 33}, {"low_rank:rank=13", 13, 29}}, 1e-12);
  repeats_on_all_threads({"low_rank:rank=8", 16, 33});
  repeats_on_all_threads({"low_rank:rank=13", 13, 29});
  initial_variance_matches("low_rank:rank=16", 64, 96);
}

TEST_CASE("low_rank equals two plain products") {
  matches_composite("low_rank:rank=5", 14, 11,
                    [](const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products) {
                      return products.matmul(products.matmul(x, factors[1]), F::transpose(factors[0], 0, 1));
                    });
}

TEST_CASE("low_rank projects to the truncated SVD: the error falls with the rank, and equals the tail") {
  const Array dense = randn({12, 9}, DType::f64, 1);
  const Array s = linalg::svd(dense).s;
  double previous = 1;
  for (Dim rank = 1; rank <= 9; ++rank) {
    Linear layer(Scope::root(DType::f64), 9, 12, concat("low_rank:rank=", rank));
    const double error = layer.map().project(dense);
    double tail = 0;
    for (Dim k = rank; k < 9; ++k) tail += s.data<double>()[k] * s.data<double>()[k];
    REQUIRE(std::abs(error - std::sqrt(tail) / linalg::frobenius(dense)) <= 1e-12);
    REQUIRE(error <= previous);
    previous = error;
  }
  REQUIRE(previous <= 1e-13);
}

TEST_CASE("blast computes what PyTorch does, forward and backward") {  // tests/golden/README.md describes the file
  const SafetensorsFile golden(ASHLAR_SOURCE_DIR "/tests/golden/blast.safetensors");
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 1e-13}, {DType::f32, 1e-6}, {DType::bf16, 2e-2}}) {
    INFO(dtype);
    Linear layer(Scope::root(dtype), 10, 12, "blast:out_blocks=3,in_blocks=2,rank=5");
    const Parameters parameters = layer.map().parameters();
    REQUIRE(parameters.size() == 4);
    for (const Parameter& p : parameters) copy(golden.read(p.name), p.tensor.value());
    const Tensor x = Tensor::leaf(golden.read("x").to(dtype));
    const Tensor y = layer(x);
    y.backward(golden.read("dy").to(dtype));
    REQUIRE(relative_error(y.value(), golden.read("y")) <= tolerance);
    REQUIRE(relative_error(layer.map().to_dense(), golden.read("dense")) <= tolerance);
    REQUIRE(relative_error(x.grad(), golden.read("dx")) <= tolerance);
    for (const Parameter& p : parameters) {
      INFO(p.name);
      REQUIRE(relative_error(p.tensor.grad(), golden.read("d" + p.name)) <= tolerance);
    }
  }
}

TEST_CASE("blast satisfies the contract of linear maps, ragged blocks included") {
  // A matrix of the structure is found to rounding. The exceptions have blocks with no more rows than rank: the factors
  // are nearly free to be anything, and descents end in flat valleys.
  linear_map_suite({{"blast:blocks=1,rank=1", 1, 1, {1, 5}},
                    {"blast:blocks=2,rank=3", 8, 6, {1, 2, 33, 70}, 5e-3},
                    {"blast:out_blocks=3,in_blocks=2,rank=4", 24, 36},
                    {"blast:blocks=3,rank=5", 10, 11, {1, 2, 33, 70}, 5e-3},
                    {"blast:blocks=4,rank=9", 36, 20, {1, 2, 33, 70}, 0.05},
                    {"blast:blocks=3,rank=7", 40, 32}},
                   1e-9);
  // Blocks of so many columns that what V makes of x is kept for the backward; descents take longer there.
  const SuiteCase wide{"blast:blocks=2,rank=8", 52, 40};
  matches_dense(wide, DType::f64, 1e-12);
  matches_finite_differences(wide);
  matches_f64(wide, DType::f32, 2e-5);
  matches_f64(wide, DType::bf16, 2e-2);
  repeats_on_all_threads({"blast:blocks=3,rank=5", 10, 11});
  repeats_on_all_threads({"blast:out_blocks=3,in_blocks=2,rank=12", 24, 36});
  initial_variance_matches("blast:blocks=3,rank=16", 96, 192);
  initial_variance_matches("blast:blocks=16,rank=16", 33, 192);
}

TEST_CASE("blast equals its parts in the sense of the paper: the composite of plain products") {
  const Dim b1 = 3, b2 = 2, p = 4, q = 5, rank = 7;
  matches_composite("blast:out_blocks=3,in_blocks=2,rank=7", b2 * q, b1 * p,
                    [&](const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products) {
                      const Dim rows = x.size(0);
                      const Tensor &u = factors[0], &v = factors[1], &s = factors[2];
                      const Tensor slabs = F::permute(F::reshape(x, {rows, b2, q}), {1, 0, 2});
                      const Tensor a = F::reshape(products.matmul(slabs, v), {1, b2, rows, rank});
                      const Tensor mixed = F::mul(a, F::reshape(s, {b1, b2, 1, rank}));  // (b1, b2, rows, rank)
                      products.macs += mixed.value().numel();
                      const Tensor c = F::scale(F::mean(mixed, 1), static_cast<double>(b2));
                      const Tensor y = products.matmul(c, F::transpose(u, 1, 2));  // (b1, rows, p)
                      return F::reshape(F::permute(y, {1, 0, 2}), {rows, b1 * p});
                    });
}

TEST_CASE("the factors of low_rank and blast have Gram matrices, in the order of their blocks") {
  const auto shape_of = [](const Parameters& parameters, std::size_t index) { return parameters[index].info.gram().shape(); };
  Linear low_rank(Scope::root(), 10, 12, "low_rank:rank=3"), blast(Scope::root(), 10, 12, "blast:out_blocks=3,in_blocks=2,rank=4");
  const Parameters two = low_rank.map().parameters(), three = blast.map().parameters();
  REQUIRE(two[0].info.role == Role::bias);
  REQUIRE(shape_of(two, 1) == Shape{1, 3, 3});
  REQUIRE(shape_of(two, 2) == Shape{1, 3, 3});
  REQUIRE(shape_of(three, 1) == Shape{3, 4, 4});
  REQUIRE(shape_of(three, 2) == Shape{2, 4, 4});
  REQUIRE(shape_of(three, 3) == Shape{6, 4, 4});
}

TEST_CASE("blast projects with an error that never grows with the rank") {
  const auto errors = projection_errors({"blast:blocks=2,rank=1", "blast:blocks=2,rank=2", "blast:blocks=2,rank=4",
                                         "blast:blocks=2,rank=8"}, 12, 16);
  for (std::size_t i = 1; i < errors.size(); ++i) REQUIRE(errors[i] <= errors[i - 1]);
  REQUIRE(errors.back() <= 0.3);
}

TEST_CASE("specs: sizes by ratio, and errors that say what would fit") {
  const auto make = [](Dim in, Dim out, std::string_view spec) { return Linear(Scope::root(), in, out, spec).map().spec(); };
  REQUIRE(make(768, 768, "low_rank:ratio=0.5") == "low_rank:rank=192");
  REQUIRE(make(768, 2304, "blast:blocks=6,ratio=0.25") == "blast:blocks=6,rank=136");
  REQUIRE(make(192, 768, "blast:out_blocks=6,in_blocks=3,ratio=0.5") == "blast:out_blocks=6,in_blocks=3,rank=72");
  REQUIRE_THROWS_WITH(make(8, 8, "blast:blocks=2,rank=9"), says("rank must be from 1 to 8"));
  REQUIRE_THROWS_WITH(make(8, 8, "blast:blocks=9,rank=2"), says("out_blocks must be from 1 to 8"));
  // What was written is quoted, not what it stands for.
  REQUIRE_THROWS_WITH(make(8, 8, "blast:blocks=9,init=matched,rank=2"), says("layer 'blast:blocks=9,init=matched,rank=2' (8 -> 8)"));
  REQUIRE_THROWS_WITH(make(8, 8, "ss1:reduction=9"), says("layer 'ss1:reduction=9' (8 -> 8): reduction must be from 1 to 8"));
  REQUIRE_THROWS_WITH(make(16, 16, "monarch:rank=6,blocks=4"),
                      says("layer 'monarch:rank=6,blocks=4' (16 -> 16): rank must be a multiple of blocks; 4 would fit"));
  REQUIRE_THROWS_WITH(make(16, 16, "blast:blocks=2,rank=4,init=authors"), says("layer 'blast:blocks=2,rank=4,init=authors' (16 -> 16)"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank:rank=0"), says("at least 1"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank:rank=two"), says("'two'"));
  for (const std::string spec : {"monarch:blocks=", "blast:ratio=0.5,blocks=", "ss1:reduction=", "low_rank:rank="}) {
    CAPTURE(spec);
    for (const char* size : {"4294967296", "576460752303423488", "99999999999999999999"}) {
      REQUIRE_THROWS_WITH(make(8, 8, spec + size), says(concat("at most 2147483647, got '", size, "'")));
    }
    REQUIRE_THROWS_WITH(make(8, 8, spec + "2147483647"),
                        says("must be from 1 to 8") || says("keeps 5.76461e+17 of them, and a ratio is at most 1"));
  }
  REQUIRE_THROWS_WITH(make(8, 8, "monarch:ratio=0.5,blocks=2147483647"), says("keeps 1.15292e+18 of them"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank"), says("layer 'low_rank': low_rank needs rank=… or ratio=…"));
  REQUIRE_THROWS_WITH(make(8, 8, "blast:rank=8"), says("blast needs blocks=… or out_blocks=…"));
  REQUIRE_THROWS_WITH(make(8, 8, "blast:out_blocks=2,rank=8"), says("blast needs blocks=… or in_blocks=…"));
  for (const std::string spec : {"low_rank:ratio=0.5,rank=8", "blast:blocks=2,ratio=0.5,rank=8", "monarch:ratio=0.5,rank=8",
                                 "monarch:blocks=2,ratio=0.5,rank=8"}) {
    REQUIRE_THROWS_WITH(make(64, 64, spec), says(" takes rank=… or ratio=…, not both"));
  }
  REQUIRE_THROWS_WITH(make(8, 8, "blast:blocks=2,in_blocks=3,rank=2"), says("takes blocks=… or in_blocks=…, not both"));
  REQUIRE_THROWS_WITH(make(8, 8, "ss1:reduction=2,ratio=0.5"), says("takes reduction=… or ratio=…, not both"));
  REQUIRE_THROWS_WITH(make(8, 8, "block_diagonal:blocks=2,ratio=0.5"), says("takes blocks=… or ratio=…, not both"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank:rank=2,blocks=3"),
                      says("layer 'low_rank:rank=2,blocks=3': low_rank does not know 'blocks'; It takes rank, ratio, init"));
  REQUIRE_THROWS_WITH(make(8, 8, "blast:block=2,rank=4"), says("blast does not know 'block'; did you mean 'blocks'? It takes "));
  REQUIRE_THROWS_WITH(make(8, 8, "dense:rank=2"), says("dense does not know 'rank'; It takes init"));
  REQUIRE_THROWS_WITH(make(8, 8, "lowrank:rank=2"),
                      says("unknown kind 'lowrank'; did you mean 'low_rank'? Valid: dense, low_rank, blast, "));
  REQUIRE(linear_kinds().starts_with("dense; low_rank: rank, ratio; blast: blocks, out_blocks, "));
  REQUIRE_THROWS_WITH(make(8, 8, "Toeplitz"), says("unknown kind 'Toeplitz'; Valid: dense, "));
  REQUIRE_THROWS_WITH(make(64, 64, "low_rank:ratio=0.1"), says("smallest possible ratio is 0.25"));
  // What is said can be given.
  REQUIRE_THROWS_WITH(make(192, 192, "low_rank:ratio=0.05"), says("smallest possible ratio is 0.0833334 (rank 8)"));
  make(192, 192, "low_rank:ratio=0.0833334");
  REQUIRE_THROWS_WITH(make(192, 576, "block_diagonal:ratio=0.001"), says("smallest possible ratio is 0.00520834 (blocks=192)"));
  make(192, 576, "block_diagonal:ratio=0.00520834");
  REQUIRE_THROWS_WITH(make(7, 5, "low_rank:ratio=0.9"), says("rank 8 keeps 2.74286 of them, and a ratio is at most 1"));
  struct Net : Module {
    explicit Net(std::string_view spec) : Module(Scope::root()), fc(sub("fc"), 64, 32, spec) {}
    Linear fc;
  };
  for (const std::string spec : {"low_rank:ratio=0.1", "blast:blocks=2,ratio=0.1", "monarch:blocks=4,ratio=0.1",
                                 "ss1:ratio=0.001", "block_diagonal:ratio=0.001"}) {
    REQUIRE_THROWS_WITH(Net(spec), says("layer '" + spec + "' for fc (64 -> 32): no ") &&
                                       says("smallest possible ratio is"));
  }
  REQUIRE_THROWS_WITH(make(64, 64, "low_rank:ratio=1.5"), says("ratio must be above 0 and at most 1, got '1.5'"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank:"), says("key=value"));
  REQUIRE_THROWS_WITH(make(8, 8, "low_rank:rank="), says("expected key=value after the colon, got 'rank='"));
  REQUIRE_THROWS_WITH(make(0, 8, "dense"), says("a linear map needs at least one input and one output, got 0 -> 8"));
  REQUIRE_THROWS_WITH(make(8, 0, "dense"), says("got 8 -> 0"));
}

TEST_CASE("a ratio is never exceeded, padding included, whatever the shape and the other keys") {
  int possible = 0;
  for (const auto& [in, out] : {std::pair<Dim, Dim>{192, 576}, {384, 384}, {100, 37}, {61, 250}, {24, 24}, {7, 5}}) {
    for (const std::string kind : {"low_rank:", "monarch:", "monarch:blocks=3,", "blast:blocks=9,", "blast:blocks=4,",
                                   "blast:out_blocks=5,in_blocks=7,", "ss1:", "ss1:block=64,", "ss1:block=5,",
                                   "ss1:classes=3,", "block_diagonal:"}) {
      for (const char* ratio : {"0.05", "0.2", "0.37", "0.5", "0.9", "1"}) {
        const std::string spec = concat(kind, "ratio=", ratio);
        CAPTURE(spec, in, out);
        try {
          const Linear layer(Scope::root().for_loading(), in, out, spec);
          const double most = std::stod(ratio) * static_cast<double>(in * out);
          CHECK(static_cast<double>(layer.map().cost(1).params) <= most);
          ++possible;
        } catch (const InputError&) {  // no size is small enough, or a block too large for the shape
        }
      }
    }
  }
  REQUIRE(possible > 200);
  const auto make = [](Dim in, Dim out, std::string_view spec) { return Linear(Scope::root(), in, out, spec).map().spec(); };
  REQUIRE(make(192, 576, "ss1:ratio=0.5,block=64") == "ss1:reduction=3,block=64");
  REQUIRE(make(384, 384, "blast:blocks=9,ratio=0.37") == "blast:blocks=9,rank=56");
}

TEST_CASE("the authors' initialisations: uniform factors, and what they make of the variance of the matrix") {
  const Dim in = 96, out = 64;
  // Times in / std² of a dense matrix with PyTorch's initialisation, 1/3.
  const auto variance = [&](const std::string& spec) {
    const double std = entry_std(Linear(Scope::root(DType::f64, 1), in, out, spec, {.std = 0.5}).map().to_dense());
    return 3 * static_cast<double>(in) * std * std;
  };
  REQUIRE(variance("dense:init=authors") == Approx(1).epsilon(0.05));
  const Linear plain(Scope::root(DType::f64, 1), in, out), told(Scope::root(DType::f64, 1), in, out, "dense", {.authors_init = true});
  REQUIRE(entry_std(plain.map().to_dense()) == Approx(1 / std::sqrt(3.0 * in)).epsilon(0.05));
  REQUIRE(bitwise_equal(told.map().to_dense(), Linear(Scope::root(DType::f64, 1), in, out, "dense:init=authors").map().to_dense()));
  REQUIRE(variance("low_rank:rank=32,init=authors") == Approx(1.0 / 3).epsilon(0.1));
  REQUIRE(variance("monarch:blocks=4,init=authors") == Approx(1.0 / 3).epsilon(0.1));
  REQUIRE(variance("block_diagonal:blocks=4,init=authors") == Approx(1).epsilon(0.1));
  REQUIRE(variance("ss1:reduction=4,init=authors") == Approx(4).epsilon(0.1));
  REQUIRE(variance("dense:init=matched") == Approx(3 * 96 * 0.25).epsilon(0.05));
  REQUIRE_THROWS_WITH(variance("blast:blocks=2,rank=8,init=authors"), says("the authors of BLAST published no initialisation"));
  REQUIRE_THROWS_WITH(variance("dense:init=zero"), says("init must be matched or authors, got 'zero'"));
  for (const double value : Linear(Scope::root(DType::f64, 1), in, out, "dense:init=authors").map().to_dense().to_vector<double>()) {
    REQUIRE(std::abs(value) <= 1 / std::sqrt(96.0));
  }
}

TEST_CASE("gradients that several threads add up are the same bits on all of them") {
  // Enough rows for several ranges of them, and enough weights for several threads to add up the sums over rows.
  for (const SuiteCase& c : {SuiteCase{"low_rank:rank=64", 384, 384}, SuiteCase{"blast:blocks=4,rank=96", 384, 384},
                             SuiteCase{"monarch:blocks=4", 384, 384}, SuiteCase{"block_diagonal:blocks=4,shuffle=1", 768, 768},
                             SuiteCase{"ss1:reduction=4,classes=3", 384, 384}}) {
    repeats_on_all_threads(c, {DType::f32}, {600});
  }
}
