// What every linear map must satisfy; one call a structure.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "layers/linear_map.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

namespace ashlar::test {

struct SuiteCase {
  std::string spec;
  Dim in, out;
  std::vector<Dim> rows = {1, 2, 33, 70};
};

// y = x Wᵀ + bias and all gradients, in f64, from the dense matrix: the oracle.
inline void matches_dense(const SuiteCase& c, DType dtype, double tolerance_) {
  Linear layer(Scope::root(dtype, 3), c.in, c.out, c.spec);
  for (const Parameter& p : layer.map().parameters()) {
    if (p.info.role == Role::bias) copy(randn(p.tensor.shape(), DType::f64, 12), p.tensor.value());
  }
  const Array dense = layer.map().to_dense();
  REQUIRE(dense.shape() == Shape({c.out, c.in}));
  for (const Dim rows : c.rows) {
    INFO(c.spec << " " << c.in << " -> " << c.out << " " << dtype << " rows " << rows);
    const Tensor x = Tensor::leaf(randn({rows, c.in}, dtype, 13));
    const Tensor y = layer(x);
    REQUIRE(y.dtype() == dtype);
    const Tensor x64 = Tensor::leaf(x.value().to(DType::f64)), w64 = Tensor::leaf(dense.to(DType::f64));
    Tensor b64 = Tensor::leaf(Array::zeros({c.out}, DType::f64));
    for (const Parameter& p : layer.map().parameters()) {
      if (p.info.role == Role::bias) b64 = Tensor::leaf(p.tensor.value().to(DType::f64));
    }
    const Tensor expected = F::linear(x64, w64, b64);
    REQUIRE(relative_error(y.value(), expected.value()) <= tolerance_);
    const Array dy = randn(y.shape(), dtype, 14);
    for (const Parameter& p : layer.map().parameters()) p.tensor.zero_grad();
    y.backward(dy);
    expected.backward(dy.to(DType::f64));
    REQUIRE(relative_error(x.grad(), x64.grad()) <= tolerance_);
    for (const Parameter& p : layer.map().parameters()) {
      if (p.info.role == Role::bias) REQUIRE(relative_error(p.tensor.grad(), b64.grad()) <= tolerance_);
    }
  }
}

// Gradients of every parameter and of x against finite differences.
inline void matches_finite_differences(const SuiteCase& c) {
  for (const Dim rows : {Dim{1}, Dim{5}}) {
    Linear layer(Scope::root(DType::f64, 4), c.in, c.out, c.spec);
    const Parameters parameters = layer.map().parameters();
    const Tensor x = Tensor::leaf(randn({rows, c.in}, DType::f64, 15));
    const Array cotangent = randn({rows, c.out}, DType::f64, 16);
    layer(x).backward(cotangent);
    const auto numeric = [&](const Array& at) {
      return finite_difference(at, cotangent, [&](const Array& changed) {
        const NoGrad no_grad;
        const Array before = at.clone();
        copy(changed, at);
        const Array y = layer(x).value();
        copy(before, at);
        return y;
      });
    };
    INFO(c.spec << " " << c.in << " -> " << c.out << " rows " << rows);
    REQUIRE(relative_error(x.grad(), numeric(x.value())) <= kGradcheckTolerance);
    for (const Parameter& p : parameters) {
      INFO(p.name);
      REQUIRE(relative_error(p.tensor.grad(), numeric(p.tensor.value())) <= kGradcheckTolerance);
    }
  }
}

// ParamInfo::gram of every factor that has one: it measures how far a change of the factor moves the matrix.
inline void grams_measure_changes(const SuiteCase& c) {
  Linear layer(Scope::root(DType::f64, 7), c.in, c.out, c.spec);
  for (const Parameter& p : layer.map().parameters()) {
    if (!p.info.gram) continue;
    INFO(c.spec << " " << c.in << " -> " << c.out << " " << p.name);
    const Array gram = p.info.gram(), values = p.tensor.value(), before = layer.map().to_dense();
    const Array kept = values.clone(), change = randn(values.shape(), DType::f64, 17);
    // Padding takes no part in the matrix and has no gradient.
    layer(randn({c.in, c.in}, DType::f64, 18)).backward(randn({c.in, c.out}, DType::f64, 19));
    for (Dim i = 0; i < change.numel(); ++i) {
      if (p.tensor.grad().data<double>()[i] == 0) change.data<double>()[i] = 0;
    }
    kernels::linear_combination(values.exec(), kept, 1, change, 1, values);
    Array moved = empty_like(before);
    kernels::linear_combination(values.exec(), layer.map().to_dense(), 1, before, -1, moved);
    copy(kept, values);
    REQUIRE(gram.ndim() == 3);
    REQUIRE(gram.size(1) == gram.size(2));
    const Array seen = p.info.gram_on_rows ? change.reshape({gram.size(0), gram.size(1), -1}).transpose(1, 2)
                                           : change.reshape({gram.size(0), -1, gram.size(1)});
    const Array measured = linalg::product(seen, gram);
    Array squares = empty_like(measured);
    kernels::multiply(values.exec(), measured, seen, squares);
    double expected = 0;
    for (const double square : squares.to_vector<double>()) expected += square;
    REQUIRE(std::abs(std::pow(linalg::frobenius(moved), 2) / expected - 1) <= 1e-12);
  }
}

inline double entry_std(const Array& a) {
  double sum = 0;
  for (const double value : a.to_vector<double>()) sum += value * value;
  return std::sqrt(sum / static_cast<double>(a.numel()));
}

// Runs all of it. `recovers`: project(to_dense()) finds the matrix again to this relative error.
inline void linear_map_suite(const std::vector<SuiteCase>& cases, double recovers) {
  for (const SuiteCase& c : cases) {
    matches_dense(c, DType::f64, 1e-12);
    matches_dense(c, DType::f32, 2e-5);
    matches_dense(c, DType::bf16, 2e-2);
    matches_finite_differences(c);
    grams_measure_changes(c);

    INFO(c.spec << " " << c.in << " -> " << c.out);
    Linear layer(Scope::root(DType::f64, 5), c.in, c.out, c.spec);
    // cost() counts what there is, in both of its forms
    Dim counted = 0;
    for (const Parameter& p : layer.map().parameters()) {
      if (p.info.role != Role::bias) counted += p.tensor.value().numel();
    }
    REQUIRE(layer.map().cost(1).params == counted);
    REQUIRE(layer.map().cost(7).macs_forward == 7 * layer.map().cost(1).macs_forward);
    // the spec that it names makes the same map
    Linear again(Scope::root(DType::f64, 5), c.in, c.out, layer.map().spec());
    REQUIRE(bitwise_equal(again.map().to_dense(), layer.map().to_dense()));
    // a matrix of this structure is recovered
    const Array dense = layer.map().to_dense();
    Linear other(Scope::root(DType::f64, 6), c.in, c.out, c.spec);
    REQUIRE(other.map().project(dense) <= recovers);
    REQUIRE(relative_error(other.map().to_dense(), dense) <= recovers);
    REQUIRE_THROWS_AS(other.map().project(randn({c.out + 1, c.in}, DType::f64, 1)), InputError);
    Array broken = dense.clone();
    broken.data<double>()[0] = std::nan("");
    REQUIRE_THROWS_AS(other.map().project(broken), InputError);
    REQUIRE_THROWS_WITH(layer(randn({2, c.in + 1}, DType::f64, 1)), Catch::Matchers::Contains("in_features"));
  }
}

// The represented matrix starts with the asked-for size of entries, so that outputs vary as those of the dense layer.
inline void initial_variance_matches(const std::string& spec, Dim in, Dim out) {
  double ratio = 0;
  constexpr int kDraws = 4;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    Linear layer(Scope::root(DType::f32, seed), in, out, spec, {.std = 0.02});
    ratio += entry_std(layer.map().to_dense()) / 0.02 / kDraws;
  }
  INFO(spec << " " << in << " -> " << out);
  REQUIRE(ratio * ratio >= 0.8);
  REQUIRE(ratio * ratio <= 1.2);
}

}  // namespace ashlar::test
