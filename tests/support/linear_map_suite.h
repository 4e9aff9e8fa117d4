// What every linear map must satisfy; one call a structure.
#pragma once
#include <optional>

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
  std::optional<double> recovers = {};  // where it is not that of the suite
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
    REQUIRE(difference(y.value(), expected.value()) <= tolerance_);
    const Array dy = randn(y.shape(), dtype, 14);
    for (const Parameter& p : layer.map().parameters()) p.tensor.zero_grad();
    y.backward(dy);
    expected.backward(dy.to(DType::f64));
    REQUIRE(difference(x.grad(), x64.grad()) <= tolerance_);
    for (const Parameter& p : layer.map().parameters()) {
      if (p.info.role == Role::bias) REQUIRE(difference(p.tensor.grad(), b64.grad()) <= tolerance_);
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

// Strides of x and of the cotangent change nothing, and neither do gradients that are not asked for.
inline void takes_any_layout(const SuiteCase& c) {
  Linear layer(Scope::root(DType::f64, 4), c.in, c.out, c.spec);
  const auto results = [&](const Tensor& x, const auto& differentiate) {
    for (const Parameter& p : layer.map().parameters()) p.tensor.zero_grad();
    const Tensor y = layer(x);
    differentiate(y);
    std::vector<Array> all{y.value()};
    for (const Parameter& p : layer.map().parameters()) all.push_back(p.tensor.grad());
    if (x.requires_grad()) all.push_back(x.grad());
    return all;
  };
  const Array turned = randn({c.in, 5}, DType::f64, 30).transpose(0, 1), plain = turned.as_contiguous();
  const auto by_ones = [](const Tensor& y) { y.backward(Array::full(y.shape(), 1, DType::f64)); };
  const auto by_repeated_one = [](const Tensor& y) { F::sum(y).backward(); };
  const auto expected = results(Tensor::leaf(plain), by_ones);
  for (const auto& got : {results(Tensor::leaf(turned), by_ones), results(Tensor::leaf(plain), by_repeated_one),
                          results(Tensor(plain), by_ones)}) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      INFO(c.spec << " " << c.in << " -> " << c.out << " result " << i);
      REQUIRE(relative_error(got[i], expected[i]) <= 1e-13);
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

// In f32 and bf16 all gradients are those of the same layer in f64, also when the rows take many tiles.
inline void matches_f64(const SuiteCase& c, DType dtype, double tolerance_) {
  Linear layer(Scope::root(dtype, 7), c.in, c.out, c.spec), exact(Scope::root(DType::f64, 7), c.in, c.out, c.spec);
  const Parameters parameters = layer.map().parameters(), expected = exact.map().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) copy(parameters[i].tensor.value(), expected[i].tensor.value());
  for (const Dim rows : {Dim{1}, Dim{70}, Dim{600}}) {
    const Tensor x = Tensor::leaf(randn({rows, c.in}, dtype, 21)), x64 = Tensor::leaf(x.value().to(DType::f64));
    const Array dy = randn({rows, c.out}, dtype, 22);
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].tensor.zero_grad(), expected[i].tensor.zero_grad();
    layer(x).backward(dy);
    exact(x64).backward(dy.to(DType::f64));
    INFO(c.spec << " " << c.in << " -> " << c.out << " " << dtype << " rows " << rows);
    REQUIRE(difference(x.grad(), x64.grad()) <= tolerance_);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      INFO(parameters[i].name);
      const bool summed_alone = parameters[i].info.role == Role::bias;  // in f32, from the same dy
      REQUIRE(difference(parameters[i].tensor.grad(), expected[i].tensor.grad()) <= (summed_alone ? 2e-5 : tolerance_));
    }
  }
}

// One, two and three threads give the same bits.
inline void repeats_on_all_threads(const SuiteCase& c, const std::vector<DType>& dtypes = {DType::f32, DType::bf16},
                                   const std::vector<Dim>& all_rows = {2, 90, 1300}) {
  for (const DType dtype : dtypes) {
    for (const Dim rows : all_rows) {
      INFO(c.spec << " " << c.in << " -> " << c.out << " " << dtype << " rows " << rows);
      const auto run = [&](int threads) {
        const ThreadCount count(threads);
        Linear layer(Scope::root(dtype, 8), c.in, c.out, c.spec);
        const Tensor x = Tensor::leaf(randn({rows, c.in}, dtype, 23)), y = layer(x);
        y.backward(randn({rows, c.out}, dtype, 24));
        std::vector<Array> results{y.value(), x.grad()};
        for (const Parameter& p : layer.map().parameters()) results.push_back(p.tensor.grad());
        return results;
      };
      const auto one = run(1), two = run(2), three = run(3);
      for (std::size_t i = 0; i < one.size(); ++i) {
        INFO("result " << i);
        REQUIRE(bitwise_equal(one[i], two[i]));
        REQUIRE(bitwise_equal(one[i], three[i]));
      }
    }
  }
}

// Matrix products that count their operations.
struct CountedProducts {
  Dim macs = 0;
  Tensor matmul(const Tensor& a, const Tensor& b) {
    const Tensor y = F::matmul(a, b);
    macs += y.value().numel() * a.size(-1);
    return y;
  }
};

// The layer without bias equals its definition as plain products, in values, gradients and number of operations.
// `composite` maps the factors, in the order of parameters(), and x to y.
using Composite = std::function<Tensor(const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products)>;
inline void matches_composite(const std::string& spec, Dim in, Dim out, const Composite& composite) {
  for (const Dim rows : {Dim{1}, Dim{6}, Dim{600}}) {
    INFO(spec << " " << in << " -> " << out << " rows " << rows);
    Linear layer(Scope::root(DType::f64, 8), in, out, spec, {.bias = false});
    const Tensor x = Tensor::leaf(randn({rows, in}, DType::f64, 9)), x2 = Tensor::leaf(x.value());
    std::vector<Tensor> factors;
    for (const Parameter& p : layer.map().parameters()) factors.push_back(Tensor::leaf(p.tensor.value()));
    CountedProducts products;
    const Tensor fused = layer(x), plain = composite(factors, x2, products);
    const Array dy = randn({rows, out}, DType::f64, 10);
    fused.backward(dy);
    plain.backward(dy);
    REQUIRE(relative_error(fused.value(), plain.value()) <= 1e-13);
    REQUIRE(relative_error(x.grad(), x2.grad()) <= 1e-12);
    for (std::size_t i = 0; i < factors.size(); ++i) {
      const Parameter p = layer.map().parameters()[i];
      INFO(p.name);
      REQUIRE(relative_error(p.tensor.grad(), factors[i].grad()) <= 1e-12);
    }
    // every product has a gradient product for each of its operands
    const LinearCost cost = layer.map().cost(rows);
    REQUIRE(cost.macs_forward == products.macs);
    REQUIRE(cost.macs_grad_input == products.macs);
    REQUIRE(cost.macs_grad_weight == products.macs);
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
    takes_any_layout(c);
    grams_measure_changes(c);
    matches_f64(c, DType::f32, 2e-5);
    matches_f64(c, DType::bf16, 2e-2);

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
    const auto tables = layer.map().buffers(), other_tables = other.map().buffers();  // they are part of the structure
    for (std::size_t i = 0; i < tables.size(); ++i) copy(tables[i].value, other_tables[i].value);
    REQUIRE(other.map().project(dense) <= c.recovers.value_or(recovers));
    REQUIRE(relative_error(other.map().to_dense(), dense) <= c.recovers.value_or(recovers));
    REQUIRE_THROWS_AS(other.map().project(randn({c.out + 1, c.in}, DType::f64, 1)), InputError);
    Array broken = dense.clone();
    broken.data<double>()[0] = std::nan("");
    REQUIRE_THROWS_AS(other.map().project(broken), InputError);
    REQUIRE_THROWS_WITH(layer(randn({2, c.in + 1}, DType::f64, 1)), says("in_features"));
  }
}

// The error of project() for each of the specs, on one random matrix.
inline std::vector<double> projection_errors(const std::vector<std::string>& specs, Dim in, Dim out) {
  const Array dense = randn({out, in}, DType::f64, 25);
  std::vector<double> errors;
  for (const std::string& spec : specs) {
    errors.push_back(Linear(Scope::root(DType::f64), in, out, spec).map().project(dense));
  }
  return errors;
}

// The represented matrix starts with the asked-for size of entries, so that outputs vary as those of the dense layer.
inline void initial_variance_matches(const std::string& spec, Dim in, Dim out) {
  double ratio = 0;
  constexpr int kDraws = 400;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    Linear layer(Scope::root(DType::f32, seed), in, out, spec, {.std = 0.02});
    ratio += std::pow(entry_std(layer.map().to_dense()) / 0.02, 2) / kDraws;
  }
  INFO(spec << " " << in << " -> " << out);
  REQUIRE(ratio == Approx(1).epsilon(0.03));
}

}  // namespace ashlar::test
