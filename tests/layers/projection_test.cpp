// Projections with weighted errors, and what project() says of input that it cannot use.
#include "layers/projection.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "tests/support/errors.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kIn = 14, kOut = 11, kRank = 4;

Array weights() {
  const Array values = randn({kOut}, DType::f64, 31);
  for (Dim i = 0; i < kOut; ++i) values.data<double>()[i] = std::pow(values.data<double>()[i], 2);
  return values;
}

// Of `rows` inputs with features of very different sizes, the second half of which follow the first.
Array moments(Dim rows) {
  const Array x = randn({rows, kIn}, DType::f64, 32);
  const Array first = x.slice(1, 0, kIn / 2), second = x.slice(1, kIn / 2, kIn);
  kernels::linear_combination(x.exec(), first, 1.0, second, 0.5, second);
  for (Dim i = 0; i < x.numel(); ++i) x.data<double>()[i] *= std::pow(2.0, static_cast<double>(i % kIn - 6));
  const Array sum = linalg::gram(x);
  kernels::scale(sum.exec(), sum, 1.0 / static_cast<double>(rows), sum);
  return sum;
}

// Of every kind, with block sizes that divide and that do not.
const std::vector<std::string> kSpecs{"low_rank:rank=4",
                                      "monarch:blocks=2",
                                      "monarch:blocks=3,rank=6,interleaved=1",
                                      "monarch:blocks=5,rank=10",
                                      "blast:blocks=2,rank=4",
                                      "blast:out_blocks=2,in_blocks=3,rank=4",
                                      "ss1:reduction=2",
                                      "ss1:reduction=3,block=2,classes=3",
                                      "block_diagonal:blocks=2",
                                      "block_diagonal:blocks=3,shuffle=1",
                                      "block_diagonal:blocks=9"};
bool rows_are_free(const std::string& spec) { return spec.starts_with("ss1") || spec.starts_with("block"); }

struct Fitted {
  Array dense, approximation;
  double error;
};
Fitted fitted(const ProjectionOptions& options, const std::string& spec = kSpecs[0]) {
  const Array dense = randn({kOut, kIn}, DType::f64, 33);
  Linear layer(Scope::root(DType::f64), kIn, kOut, spec);
  const double error = layer.map().project(dense, options);
  return {dense, layer.map().to_dense(), error};
}

// The smallest possible weighted error of the rank: what the singular values of the weighted matrix leave out.
double smallest_error(const Array& weighted) {
  const auto s = linalg::svd(weighted).s.to_vector<double>();
  double all = 0, tail = 0;
  for (std::size_t k = 0; k < s.size(); ++k) {
    all += s[k] * s[k];
    if (k >= kRank) tail += s[k] * s[k];
  }
  return std::sqrt(tail / all);
}

}  // namespace

TEST_CASE("low_rank with row weights has the smallest possible weighted error") {
  const ProjectionOptions options{.row_weights = weights()};
  const Fitted fit = fitted(options), plain = fitted({});
  const Array weighted = fit.dense.clone();
  for (Dim i = 0; i < weighted.numel(); ++i) {
    weighted.data<double>()[i] *= std::sqrt(options.row_weights.data<double>()[i / kIn]);
  }
  const double error = projection_error(fit.approximation, fit.dense, options);
  REQUIRE(std::abs(error - smallest_error(weighted)) <= 1e-12);
  REQUIRE(error < 0.9 * projection_error(plain.approximation, plain.dense, options));
  REQUIRE(fit.error == projection_error(fit.approximation, fit.dense));
  REQUIRE(fit.error > plain.error);
}

TEST_CASE("low_rank with input moments has the smallest possible error of the outputs, also for few inputs") {
  for (const Dim rows : {Dim{200}, Dim{9}}) {  // 9 inputs leave the moments singular
    const ProjectionOptions options{.input_moments = moments(rows)};
    const Fitted fit = fitted(options), plain = fitted({});
    INFO(rows << " inputs");
    // The singular values of W C are the roots of the eigenvalues of W M Wᵀ.
    const Array product = linalg::product(linalg::product(fit.dense, options.input_moments), fit.dense.transpose(0, 1));
    const auto values = linalg::eigh(product.reshape({1, kOut, kOut})).values.to_vector<double>();
    double all = 0, tail = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      all += values[k];
      if (k + kRank < values.size()) tail += values[k];
    }
    const double error = projection_error(fit.approximation, fit.dense, options);
    REQUIRE(std::abs(error - std::sqrt(tail / all)) <= 1e-9);
    REQUIRE(error < 0.9 * projection_error(plain.approximation, plain.dense, options));
  }
}

TEST_CASE("weighted projections of every kind lower the weighted error, and no other left factor lowers it further") {
  for (const std::string& spec : kSpecs) {
    for (const ProjectionOptions& options :
         {ProjectionOptions{.row_weights = weights()}, {.input_moments = moments(200)}, {.input_moments = moments(9)}}) {
      INFO(spec << (options.row_weights.defined() ? " row weights" : " input moments"));
      const Array dense = randn({kOut, kIn}, DType::f64, 33), plain = fitted({}, spec).approximation;
      Linear layer(Scope::root(DType::f64), kIn, kOut, spec, {.bias = false});
      layer.map().project(dense, options);
      const double least = projection_error(layer.map().to_dense(), dense, options);
      // By what refit() lowers, where a kind calls it.
      ProjectionOptions judged = options;
      if (options.input_moments.defined() && !spec.starts_with("low_rank")) judged.input_moments = with_noise(options.input_moments);
      const auto error = [&] { return projection_error(layer.map().to_dense(), dense, judged); };
      if (rows_are_free(spec) && options.row_weights.defined()) REQUIRE(bitwise_equal(layer.map().to_dense(), plain));
      else REQUIRE(least < 0.99 * projection_error(plain, dense, options));
      // The square of the error is a parabola along any direction, with its lowest point here.
      for (const Parameter& parameter : layer.map().parameters()) {
        if (std::string("ULZB").find(parameter.name.back()) == std::string::npos) continue;
        const Array factor = parameter.tensor.value(), step = randn(factor.shape(), DType::f64, 35), here = factor.clone();
        const auto squared = [&](double distance) {
          kernels::linear_combination(factor.exec(), here, 1.0, step, distance, factor);
          return std::pow(error(), 2);
        };
        const double ahead = squared(0.1), behind = squared(-0.1), middle = squared(0);
        REQUIRE(std::abs(ahead - behind) <= 1e-7 * (ahead + behind - 2 * middle));
      }
    }
  }
}

TEST_CASE("where the inputs of blocks have nothing to do with each other, monarch is as near as can be") {
  constexpr Dim kBlocks = 2, kBlockRank = 3, p = 6, q = kIn / kBlocks;
  const Array own = moments(200);
  fill(own.slice(0, 0, q).slice(1, q, kIn), 0);
  fill(own.slice(0, q, kIn).slice(1, 0, q), 0);
  const Fitted fit = fitted({.input_moments = own}, "monarch:blocks=2,rank=6");
  double all = 0, tail = 0;
  for (Dim i = 0; i < kBlocks; ++i) {
    for (Dim j = 0; j < kBlocks; ++j) {
      // The squares of the singular values of W_ij C_j.
      const Array w = fit.dense.slice(0, i * p, std::min(kOut, i * p + p)).slice(1, j * q, j * q + q);
      const Array part = own.slice(0, j * q, j * q + q).slice(1, j * q, j * q + q);
      const Array square = linalg::product(linalg::product(w, part), w.transpose(0, 1));
      const auto values = linalg::eigh(square.reshape({1, w.size(0), w.size(0)})).values.to_vector<double>();
      for (std::size_t k = 0; k < values.size(); ++k) {
        all += values[k];
        if (k + kBlockRank < values.size()) tail += values[k];
      }
    }
  }
  // The noise of refit() takes it a little away again.
  const double error = projection_error(fit.approximation, fit.dense, {.input_moments = own});
  REQUIRE(std::abs(error - std::sqrt(tail / all)) <= 1e-4);
}

TEST_CASE("blast of one block weighs its error as low_rank does") {
  for (const ProjectionOptions& options : {ProjectionOptions{.row_weights = weights()}, {.input_moments = moments(200)}}) {
    const Fitted best = fitted(options), fit = fitted(options, concat("blast:blocks=1,rank=", kRank));
    const double least = projection_error(best.approximation, best.dense, options);
    REQUIRE(projection_error(fit.approximation, fit.dense, options) <= 1.001 * least);
  }
}

TEST_CASE("a matrix of the structure is found from weighted errors too") {
  for (const std::string& spec : kSpecs) {
    INFO(spec);
    Linear layer(Scope::root(DType::f64), kIn, kOut, spec);
    const Array dense = layer.map().to_dense();
    for (const ProjectionOptions& options : {ProjectionOptions{.row_weights = weights()}, {.input_moments = moments(200)}}) {
      layer.map().project(dense, options);
      // BLAST's descent comes near it only: weights that differ as much as these make it slow.
      const double close = spec.starts_with("blast") ? 1e-2 : 1e-9;
      REQUIRE(projection_error(layer.map().to_dense(), dense, options) <= close);
    }
  }
}

TEST_CASE("refitted weights do not grow for what inputs hardly ever tell") {
  // Two features of the first block differ by a ten thousandth of one of the second.
  const Array x = randn({200, kIn}, DType::f64, 36);
  kernels::linear_combination(x.exec(), x.slice(1, 0, 1), 1.0, x.slice(1, kIn - 1, kIn), 1e-4, x.slice(1, 1, 2));
  const Fitted fit = fitted({.input_moments = linalg::gram(x)}, "block_diagonal:blocks=2");
  REQUIRE(linalg::frobenius(fit.approximation) < 2 * linalg::frobenius(fit.dense));
}

TEST_CASE("features that no input has keep their weights") {
  // Of the inputs with moments only the first half of the features is ever there.
  const Array half = moments(200);
  fill(half.slice(0, kIn / 2, kIn), 0);
  fill(half.slice(1, kIn / 2, kIn), 0);
  const Array plain = fitted({}, "block_diagonal:blocks=1").approximation;
  const Fitted fit = fitted({.input_moments = half}, "block_diagonal:blocks=1");
  REQUIRE(relative_error(fit.approximation, plain) <= 1e-12);
}

TEST_CASE("equal weights are no weights, and zeros are allowed") {
  const Array ones = Array::full({kOut}, 1, DType::f64), identity = Array::zeros({kIn, kIn}, DType::f64);
  for (Dim k = 0; k < kIn; ++k) identity.data<double>()[k * kIn + k] = 1;
  for (const std::string& spec : kSpecs) {
    INFO(spec);
    const Fitted plain = fitted({}, spec);
    // The sweeps that find BLAST's factors end a little before their limit, to which weighted ones are a step closer.
    const double close = spec.starts_with("blast") ? 1e-2 : 1e-12;
    for (const ProjectionOptions& options : {ProjectionOptions{.row_weights = ones}, {.input_moments = identity}}) {
      const Fitted same = fitted(options, spec);
      REQUIRE(relative_error(same.approximation, plain.approximation) <= close);
      REQUIRE(same.error <= plain.error * (1 + 1e-12));
    }
  }
  // Rows that do not count may be anything; those that do are exact where there are no more than the rank.
  const Array few = Array::zeros({kOut}, DType::f64);
  for (Dim i = 0; i < kRank; ++i) few.data<double>()[2 * i] = 1 + static_cast<double>(i);
  const Fitted fit = fitted({.row_weights = few});
  REQUIRE(projection_error(fit.approximation, fit.dense, {.row_weights = few}) <= 1e-12);
}

TEST_CASE("moments may be below zero by rounding") {
  Array most = Array::zeros({kIn, kIn}, DType::f64);
  for (Dim i = 0; i < kIn; ++i) most.data<double>()[i * kIn + i] = i < kRank ? 1 : -1e-18;
  REQUIRE(projection_error(fitted({.input_moments = most}).approximation, fitted({}).dense, {.input_moments = most}) <= 1e-8);
  REQUIRE_THROWS_WITH(projection_error(most, most.slice(0, 0, 2)), says("must be equal, and those of matrices"));
}

TEST_CASE("weights that make no sense are refused by name") {
  struct Net : Module {
    Net(const Scope& scope, std::string_view spec) : Module(scope), fc(sub("fc"), kIn, kOut, spec) {}
    Linear fc;
  };
  const Array dense = randn({kOut, kIn}, DType::f64, 33);
  const auto message = [&](std::string_view spec, const ProjectionOptions& options) {
    Net net(Scope::root(DType::f64), spec);
    return ashlar::test::error_of([&] { net.fc.map().project(dense, options); });
  };
  const std::string spec = "low_rank:rank=2";
  REQUIRE_THAT(message(spec, {.input_moments = moments(20), .row_weights = weights()}), says("exclude each other"));
  REQUIRE_THAT(message(spec, {.row_weights = randn({kIn}, DType::f64, 1)}), says("row_weights (14) must be (out) = (11)"));
  REQUIRE_THAT(message(spec, {.input_moments = randn({kIn, 2}, DType::f64, 1)}), says("must be (in, in) = (14, 14)"));
  REQUIRE_THAT(message(spec, {.row_weights = Array::full({kOut}, -1, DType::f64)}),
               says("project fc: row_weights have a value that is negative"));
  REQUIRE_THAT(message(spec, {.input_moments = Array::full({kIn, kIn}, NAN, DType::f64)}), says("not finite"));
  Net dense_net(Scope::root(DType::f64), "dense");
  REQUIRE(dense_net.fc.map().project(dense, {.row_weights = weights()}) == 0);
}

TEST_CASE("singular matrices have projections: zeros, one row, rank one, more rank than they need") {
  const std::vector<std::string> specs{"dense", "low_rank:rank=4", "monarch:blocks=2", "blast:blocks=2,rank=8",
                                       "ss1:reduction=2", "block_diagonal:blocks=2"};
  const Array zeros = Array::zeros({kOut, kIn}, DType::f64), row = zeros.clone();
  copy(randn({kIn}, DType::f64, 1), row.select(0, 3));
  const Array one = linalg::product(randn({kOut, 1}, DType::f64, 2), randn({1, kIn}, DType::f64, 3));
  for (const std::string& spec : specs) {
    INFO(spec);
    for (const Factorizer factorizer : {Factorizer::precgd, Factorizer::als}) {
      Linear layer(Scope::root(DType::f64), kIn, kOut, spec);
      REQUIRE(layer.map().project(zeros, {.factorizer = factorizer}) == 0);
      REQUIRE(linalg::frobenius(layer.map().to_dense()) == 0);
      const bool whole = spec[0] != 's' && !spec.starts_with("block");
      REQUIRE(layer.map().project(row, {.factorizer = factorizer}) <= (whole ? 1e-7 : 1));
      REQUIRE(layer.map().project(one, {.factorizer = factorizer}) <= (whole ? 1e-7 : 1));
    }
  }
}
