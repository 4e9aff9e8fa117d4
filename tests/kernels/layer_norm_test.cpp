#include "kernels/layer_norm/layer_norm.h"

#include "kernels/elementwise/elementwise.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr double kEps = 1e-5;

struct Norm {
  Array y, mean, rstd;
};
Norm forward(const Array& x, const Array& weight, const Array& bias) {
  const DType master = master_dtype(x.dtype());
  Norm norm{Array::empty(x.shape(), x.dtype()), Array::empty({x.size(0)}, master), Array::empty({x.size(0)}, master)};
  kernels::layer_norm_forward(x.exec(), x, {}, weight, bias, kEps, {}, norm.y, norm.mean, norm.rstd);
  return norm;
}

// x + branch into `sum`, and the norm of it.
Norm forward_sum(const Array& x, const Array& branch, const Array& weight, const Array& bias, const Array& sum) {
  const Array row = Array::full({x.size(0)}, NAN, master_dtype(x.dtype()));
  Norm norm{nan_like(x), row, row.clone()};
  kernels::layer_norm_forward(x.exec(), x, branch, weight, bias, kEps, sum, norm.y, norm.mean, norm.rstd);
  return norm;
}

struct Gradients {
  Array dx, dweight, dbias;
};
Gradients backward(const Array& dy, const Array& x, const Array& weight, const Norm& norm, const Array& add = {}) {
  const Dim columns = x.size(1);
  Gradients g{Array::empty(x.shape(), x.dtype()), Array::full({columns}, -1, weight.dtype()),
              Array::full({columns}, -1, weight.dtype())};
  kernels::layer_norm_backward(x.exec(), dy, x, weight, norm.mean, norm.rstd, add, g.dx, g.dweight, g.dbias);
  return g;
}

// In f64, from the definition; with dy given also the gradients, by the chain rule through mean and variance.
struct Reference {
  Array y, mean, rstd, dx, dweight, dbias;
};
Reference reference(const Array& x, const Array& weight, const Array& bias, const Array& dy) {
  const Dim rows = x.size(0), columns = x.size(1);
  const auto n = static_cast<double>(columns);
  const auto xs = x.to_vector<double>(), w = weight.to_vector<double>(), b = bias.to_vector<double>(),
             dys = dy.to_vector<double>();
  std::vector<double> y(xs.size()), dx(xs.size()), mean, rstd, dw(w.size()), db(w.size());
  for (Dim r = 0; r < rows; ++r) {
    const auto at = [&](std::size_t c) { return static_cast<std::size_t>(r * columns) + c; };
    double m = 0, v = 0, dm = 0, dv = 0;
    for (std::size_t c = 0; c < w.size(); ++c) m += xs[at(c)] / n;
    for (std::size_t c = 0; c < w.size(); ++c) v += (xs[at(c)] - m) * (xs[at(c)] - m) / n;
    const double s = 1 / std::sqrt(v + kEps);
    for (std::size_t c = 0; c < w.size(); ++c) {
      const double centered = xs[at(c)] - m, g = dys[at(c)] * w[c];
      y[at(c)] = centered * s * w[c] + b[c];
      dw[c] += dys[at(c)] * centered * s;
      db[c] += dys[at(c)];
      dm -= g * s;
      dv -= g * centered * s * s * s / 2;
    }
    for (std::size_t c = 0; c < w.size(); ++c) {
      dx[at(c)] = dys[at(c)] * w[c] * s + dm / n + dv * 2 * (xs[at(c)] - m) / n;
    }
    mean.push_back(m);
    rstd.push_back(s);
  }
  return {Array::from(y, x.shape()), Array::from(mean, {rows}), Array::from(rstd, {rows}),
          Array::from(dx, x.shape()), Array::from(dw, weight.shape()), Array::from(db, weight.shape())};
}

Array shifted(const Array& x, double offset) {
  auto values = x.to_vector<double>();
  for (double& v : values) v = 1.5 * v + offset;
  return Array::from(values, x.shape()).to(x.dtype());
}

}  // namespace

TEST_CASE("layer norm matches its definition", "[layer_norm]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{1, 2}, Shape{3, 7}, Shape{67, 31}, Shape{5, 768}, Shape{129, 193});
  CAPTURE(kernels::isa_name(), name_of(dtype), shape);
  const DType master = master_dtype(dtype);
  const Array x = shifted(randn(shape, dtype, 1), 0.5), dy = randn(shape, dtype, 2), add = randn(shape, dtype, 3);
  const Array weight = shifted(randn({shape[1]}, master, 4), 1), bias = randn({shape[1]}, master, 5);
  const Reference expected = reference(x, weight, bias, dy);
  const Norm norm = forward(x, weight, bias);
  const double tol = tolerance(dtype, 4), master_tol = tolerance(master, 64);
  CHECK(relative_error(norm.y, expected.y) <= tol);
  CHECK(relative_error(norm.mean, expected.mean) <= master_tol);
  CHECK(relative_error(norm.rstd, expected.rstd) <= master_tol);
  if (shape[1] == 2) return;  // dx is 0 up to the influence of eps: the reference itself is rounding noise

  const Gradients g = backward(dy, x, weight, norm);
  CHECK(relative_error(g.dx, expected.dx) <= 2 * tol);
  CHECK(relative_error(g.dweight, expected.dweight) <= master_tol);
  CHECK(relative_error(g.dbias, expected.dbias) <= master_tol);

  auto sum = expected.dx.to_vector<double>();
  const auto added = add.to_vector<double>();
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += added[i];
  const Gradients h = backward(dy, x, weight, norm, add);
  CHECK(relative_error(h.dx, Array::from(sum, shape)) <= 2 * tol);
  CHECK(bitwise_equal(h.dweight, g.dweight));
  CHECK(bitwise_equal(h.dbias, g.dbias));

  // dx in the memory of add, and each output alone.
  kernels::layer_norm_backward(x.exec(), dy, x, weight, norm.mean, norm.rstd, add, add, {}, {});
  CHECK(bitwise_equal(add, h.dx));
  const Array dweight = Array::empty({shape[1]}, master), dbias = Array::empty({shape[1]}, master);
  kernels::layer_norm_backward(x.exec(), dy, x, weight, norm.mean, norm.rstd, {}, {}, dweight, {});
  kernels::layer_norm_backward(x.exec(), dy, x, weight, norm.mean, norm.rstd, {}, {}, {}, dbias);
  CHECK(bitwise_equal(dweight, g.dweight));
  CHECK(bitwise_equal(dbias, g.dbias));
}

TEST_CASE("layer norm gradient matches finite differences", "[layer_norm]") {
  const Array x = randn({3, 7}, DType::f64, 1), dy = randn({3, 7}, DType::f64, 2);
  const Array weight = randn({7}, DType::f64, 3), bias = randn({7}, DType::f64, 4);
  const Gradients g = backward(dy, x, weight, forward(x, weight, bias));
  CHECK(relative_error(g.dx, finite_difference(x, dy, [&](const Array& v) { return forward(v, weight, bias).y; })) <=
        1e-6);
  CHECK(relative_error(g.dweight,
                       finite_difference(weight, dy, [&](const Array& v) { return forward(x, v, bias).y; })) <= 1e-6);
  CHECK(relative_error(g.dbias,
                       finite_difference(bias, dy, [&](const Array& v) { return forward(x, weight, v).y; })) <= 1e-6);
}

TEST_CASE("layer norm of rows far from zero", "[layer_norm]") {
  // The variance of centered values: E[x²] - E[x]² would lose it.
  const Array x = shifted(randn({9, 257}, DType::f32, 1), 3000), weight = Array::full({257}, 1),
              bias = Array::zeros({257});
  CHECK(relative_error(forward(x, weight, bias).y, reference(x, weight, bias, x).y) <= 2e-4);
}

TEST_CASE("layer norm takes rows with any stride", "[layer_norm]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const DType master = master_dtype(dtype);
  const Array x = randn({19, 50}, dtype, 1).slice(1, 5, 38), dy = randn({19, 3, 33}, dtype, 2).select(1, 1);
  const Array add = randn({40, 33}, dtype, 3).slice(0, 7, 26);
  const Array weight = randn({33}, master, 4), bias = randn({33}, master, 5);
  const Norm norm = forward(x, weight, bias), expected = forward(x.clone(), weight, bias);
  CHECK(bitwise_equal(norm.y, expected.y));
  const Gradients g = backward(dy, x, weight, norm, add),
                  h = backward(dy.clone(), x.clone(), weight, norm, add.clone());
  CHECK(bitwise_equal(g.dx, h.dx));
  CHECK(bitwise_equal(g.dweight, h.dweight));
  CHECK(bitwise_equal(g.dbias, h.dbias));
}

TEST_CASE("the norm of a residual sum has the bits of the sum and then the norm", "[layer_norm]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{1, 2}, Shape{3, 7}, Shape{67, 31}, Shape{5, 768}, Shape{129, 193}, Shape{0, 3});
  CAPTURE(kernels::isa_name(), name_of(dtype), shape);
  const DType master = master_dtype(dtype);
  const Array x = shifted(randn(shape, dtype, 1), 0.5), branch = shifted(randn(shape, dtype, 2), 300);
  const Array weight = shifted(randn({shape[1]}, master, 3), 1), bias = randn({shape[1]}, master, 4);
  const Array expected_sum = nan_like(x);
  kernels::linear_combination(x.exec(), x, 1.0, branch, 1.0, expected_sum);
  const Norm expected = forward(expected_sum, weight, bias);
  const auto check = [&](const Norm& norm, const Array& sum) {
    CHECK(bitwise_equal(sum, expected_sum));
    CHECK(bitwise_equal(norm.y, expected.y));
    CHECK(bitwise_equal(norm.mean, expected.mean));
    CHECK(bitwise_equal(norm.rstd, expected.rstd));
  };
  const Array sum = nan_like(x), wide_sum = widened(x);
  check(forward_sum(x, branch, weight, bias, sum), sum);
  check(forward_sum(widened(x), widened(branch), weight, bias, wide_sum), wide_sum);
  const Array over_x = x.clone(), over_branch = branch.clone();
  check(forward_sum(over_x, branch, weight, bias, over_x), over_x);
  check(forward_sum(x, over_branch, weight, bias, over_branch), over_branch);
}

TEST_CASE("layer norm does not depend on the number of threads", "[layer_norm]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array x = randn({1301, 97}, dtype, 1), dy = randn({1301, 97}, dtype, 2);
  const Array weight = randn({97}, DType::f32, 3), bias = randn({97}, DType::f32, 4);
  const Norm norm = forward(x, weight, bias);
  CHECK(same_on_all_threads([&] { return forward(x, weight, bias).y; }));
  CHECK(same_on_all_threads([&] { return backward(dy, x, weight, norm).dx; }));
  CHECK(same_on_all_threads([&] { return backward(dy, x, weight, norm).dweight; }));
  CHECK(same_on_all_threads([&] { return backward(dy, x, weight, norm).dbias; }));
}

TEST_CASE("layer norm keeps NaN visible", "[layer_norm]") {
  const Array x = randn({2, 9}, DType::f32, 1), weight = Array::full({9}, 1), bias = Array::zeros({9});
  x.data<float>()[4] = NAN;
  const auto y = forward(x, weight, bias).y.to_vector<double>();
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i < 9));
}

TEST_CASE("layer norm names what is wrong with its input", "[layer_norm]") {
  const Array x = randn({4, 6}, DType::bf16, 1), weight = Array::full({6}, 1), bias = Array::zeros({6});
  CHECK_THROWS_WITH(forward(x, Array::full({5}, 1), bias),
                    "layer_norm_forward: weight (5) f32 must be contiguous, of size 6 and dtype f32 for x (4, 6) bf16");
  CHECK_THROWS_WITH(forward(Array::zeros({4, 5}, DType::i32), weight, bias), says("needs a floating dtype"));
  CHECK_THROWS_WITH(forward(x, weight.to(DType::bf16), bias), says("layer_norm_forward: weight (6) bf16 must be contiguous"));
  CHECK_THROWS_WITH(forward(randn({6, 4}, DType::bf16, 1).transpose(0, 1), weight, bias),
                    says("layer_norm_forward: the last dimension of x (4, 6) must be contiguous"));
  CHECK_THROWS_WITH(backward(randn({4, 5}, DType::bf16, 2), x, weight, forward(x, weight, bias)),
                    says("layer_norm_backward: dy (4, 5) bf16 must be (rows, columns) like x (4, 6) bf16"));
  CHECK_THROWS_WITH(forward_sum(x, x, weight, bias, {}),
                    "layer_norm_forward: branch is given without sum for x (4, 6); give both or neither");
  CHECK_THROWS_WITH(forward_sum(x, {}, weight, bias, x), says("layer_norm_forward: sum is given without branch"));
  CHECK_THROWS_WITH(forward_sum(x, randn({4, 5}, DType::bf16, 2), weight, bias, x.clone()),
                    says("layer_norm_forward: branch (4, 5) bf16 must be (rows, columns) like x"));
  CHECK_THROWS_WITH(forward_sum(x, x, weight, bias, x.to(DType::f32)),
                    says("layer_norm_forward: sum (4, 6) f32 must be (rows, columns) like x (4, 6) bf16"));
}
