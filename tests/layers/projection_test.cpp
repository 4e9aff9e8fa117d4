// Projections with weighed errors, and what project() says of input that it cannot use.
#include "layers/projection.h"

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

// Of `rows` inputs with features of very different sizes.
Array moments(Dim rows) {
  const Array x = randn({rows, kIn}, DType::f64, 32);
  for (Dim i = 0; i < x.numel(); ++i) x.data<double>()[i] *= std::pow(2.0, static_cast<double>(i % kIn - 6));
  const Array sum = linalg::gram(x);
  kernels::scale(sum.exec(), sum, 1.0 / static_cast<double>(rows), sum);
  return sum;
}

struct Fitted {
  Array dense, approximation;
  double error;
};
Fitted fitted(const ProjectionOptions& options) {
  const Array dense = randn({kOut, kIn}, DType::f64, 33);
  Linear layer(Scope::root(DType::f64), kIn, kOut, concat("low_rank:rank=", kRank));
  const double error = layer.map().project(dense, options);
  return {dense, layer.map().to_dense(), error};
}

// The smallest possible weighed error of the rank: what the singular values of the weighed matrix leave out.
double smallest_error(const Array& weighed) {
  const auto s = linalg::svd(weighed).s.to_vector<double>();
  double all = 0, tail = 0;
  for (std::size_t k = 0; k < s.size(); ++k) {
    all += s[k] * s[k];
    if (k >= kRank) tail += s[k] * s[k];
  }
  return std::sqrt(tail / all);
}

}  // namespace

TEST_CASE("low_rank with row weights has the smallest possible weighed error") {
  const ProjectionOptions options{.row_weights = weights()};
  const Fitted fit = fitted(options), plain = fitted({});
  const Array weighed = fit.dense.clone();
  for (Dim i = 0; i < weighed.numel(); ++i) {
    weighed.data<double>()[i] *= std::sqrt(options.row_weights.data<double>()[i / kIn]);
  }
  const double error = projection_error(fit.approximation, fit.dense, options);
  REQUIRE(std::abs(error - smallest_error(weighed)) <= 1e-12);
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

TEST_CASE("equal weights are no weights, and zeros are allowed") {
  const Array ones = Array::full({kOut}, 1, DType::f64), identity = Array::zeros({kIn, kIn}, DType::f64);
  for (Dim k = 0; k < kIn; ++k) identity.data<double>()[k * kIn + k] = 1;
  const Fitted plain = fitted({});
  REQUIRE(relative_error(fitted({.row_weights = ones}).approximation, plain.approximation) <= 1e-12);
  REQUIRE(relative_error(fitted({.input_moments = identity}).approximation, plain.approximation) <= 1e-12);
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

TEST_CASE("weights that make no sense, or that a kind cannot use, are refused by name") {
  struct Net : Module {
    Net(const Scope& scope, std::string_view spec) : Module(scope), fc(sub("fc"), kIn, kOut, spec) {}
    Linear fc;
  };
  const Array dense = randn({kOut, kIn}, DType::f64, 33);
  const auto message = [&](std::string_view spec, const ProjectionOptions& options) {
    Net net(Scope::root(DType::f64), spec);
    return ashlar::test::error_of([&] { net.fc.map().project(dense, options); });
  };
  for (const std::string spec : {"monarch:blocks=2", "blast:blocks=2,rank=2", "ss1:reduction=2", "block_diagonal:blocks=2"}) {
    INFO(spec);
    REQUIRE_THAT(message(spec, {.row_weights = weights()}), says("project fc: ") && says("cannot weigh its error"));
    REQUIRE_THAT(message(spec, {.input_moments = moments(20)}), says("cannot weigh its error"));
  }
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
