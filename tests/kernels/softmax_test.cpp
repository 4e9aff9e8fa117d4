#include "kernels/softmax/softmax.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array softmax(const Array& x) {
  const Array y = nan_like(x);
  kernels::softmax_forward(x.exec(), x, y);
  return y;
}
Array gradient(const Array& y, const Array& dy) {
  const Array dx = nan_like(y);
  kernels::softmax_backward(y.exec(), y, dy, dx);
  return dx;
}

// body(row of a, row of b) on vectors of f64, which may change the first; the result of all rows.
template <class Body>
Array by_rows(const Array& a, const Array& b, const Body& body) {
  std::vector<double> result;
  for (Dim r = 0; r < a.size(0); ++r) {
    auto row = a.select(0, r).to_vector<double>();
    body(row, b.select(0, r).to_vector<double>());
    result.insert(result.end(), row.begin(), row.end());
  }
  return Array::from(result, a.shape());
}

Array expected_softmax(const Array& x) {
  return by_rows(x, x, [](std::vector<double>& row, const std::vector<double>&) {
    const double max = *std::ranges::max_element(row);
    double sum = 0;
    for (double& v : row) sum += v = std::exp(v - max);
    for (double& v : row) v /= sum;
  });
}
Array expected_gradient(const Array& y, const Array& dy) {
  return by_rows(y, dy, [](std::vector<double>& row, const std::vector<double>& gradients) {
    double dot = 0;
    for (std::size_t i = 0; i < row.size(); ++i) dot += row[i] * gradients[i];
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= gradients[i] - dot;
  });
}

}  // namespace

TEST_CASE("softmax matches its formula", "[softmax]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{1, 1}, Shape{5, 1}, Shape{3, 2}, Shape{7, 33}, Shape{1, 2048}, Shape{2, 5001});
  CAPTURE(kernels::isa_name(), name_of(dtype), shape);
  const Array x = randn(shape, dtype, 1), dy = randn(shape, dtype, 2);
  const Array y = softmax(x);
  CHECK(relative_error(y, expected_softmax(x)) <= tolerance(dtype, 4));
  if (shape[1] == 1) CHECK(all_equal(gradient(y, dy), 0));
  else CHECK(relative_error(gradient(y, dy), expected_gradient(y, dy)) <= tolerance(dtype, 16));
}

TEST_CASE("softmax of one row is not touched by what lies around it", "[softmax]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = randn({9, 37}, dtype, 3), dy = randn({9, 37}, dtype, 4), y = softmax(x), dx = gradient(y, dy);
  for (Dim r = 0; r < 9; ++r) {
    const auto row = [&](const Array& a) { return a.slice(0, r, r + 1).clone(); };
    CHECK(bitwise_equal(softmax(row(x)), row(y)));
    CHECK(bitwise_equal(gradient(row(y), row(dy)), row(dx)));
  }
}

TEST_CASE("softmax of large values, of -inf and of what is not finite", "[softmax]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const auto of = [&](std::vector<double> values) {
    return softmax(Array::from(values, {1, static_cast<Dim>(values.size())}).to(dtype)).to_vector<double>();
  };
  CHECK(of({3e38, 3e38}) == std::vector{0.5, 0.5});
  CHECK(of({-3e38, 3e38, -3e38}) == std::vector{0.0, 1.0, 0.0});
  CHECK(of({-1000, -1000, -kInf, -kInf}) == std::vector{0.5, 0.5, 0.0, 0.0});
  std::vector<double> masked(77, -kInf);
  masked[70] = -5;
  CHECK(of(masked)[70] == 1);
  CHECK(of(masked)[0] == 0);
  for (const std::vector<double>& values :
       {std::vector{-kInf, -kInf, -kInf}, {0.0, kInf}, {NAN, 1.0}, {1.0, 2.0, NAN}, {NAN}, std::vector(77, -kInf)}) {
    for (const double v : of(values)) CHECK(std::isnan(v));
  }
}

TEST_CASE("softmax keeps its accuracy in long rows", "[softmax]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const Dim columns = (1 << 20) + 3;
  const double bound = tolerance(DType::f32, 64);  // as many are added up in f32, where vectors are the shortest
  const Array x = Array::full({1, columns}, 0.1), y = Array::full({1, columns}, 1 / static_cast<double>(columns));
  x.data<float>()[0] = 3;  // the others' exponentials are no round numbers
  CHECK(relative_error(softmax(x), expected_softmax(x)) <= bound);
  // Each element is dy's distance from the mean.
  const Array dy = Array::full({1, columns}, 1);
  dy.data<float>()[0] = 3;
  CHECK(relative_error(gradient(y, dy).select(1, 0), expected_gradient(y, dy).select(1, 0)) <= bound);
}

TEST_CASE("softmax works in place", "[softmax]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = randn({5, 83}, dtype, 5), dy = randn({5, 83}, dtype, 6), y = softmax(x), dx = gradient(y, dy);
  kernels::softmax_forward(x.exec(), x, x);
  CHECK(bitwise_equal(x, y));
  kernels::softmax_backward(y.exec(), y, dy, dy);
  CHECK(bitwise_equal(dy, dx));
  kernels::softmax_backward(y.exec(), y, randn({5, 83}, dtype, 6), y);
  CHECK(bitwise_equal(y, dx));
}

TEST_CASE("softmax does not depend on the number of threads", "[softmax]") {
  const Array x = randn({101, 931}, DType::f32, 7), dy = randn({101, 931}, DType::f32, 8), y = softmax(x);
  CHECK(same_on_all_threads([&] { return softmax(x); }));
  CHECK(same_on_all_threads([&] { return gradient(y, dy); }));
}

TEST_CASE("softmax has nothing to do for empty rows and none", "[softmax]") {
  for (const Shape& shape : {Shape{0, 5}, Shape{5, 0}}) {
    CHECK(gradient(softmax(Array::empty(shape)), Array::empty(shape)).shape() == shape);
  }
}

TEST_CASE("softmax names what is wrong with its input", "[softmax]") {
  const Array x = randn({2, 3}, DType::f32, 1), ids = Array::zeros({2, 2}, DType::i32);
  CHECK_THROWS_WITH(softmax(Array::zeros({2})), "softmax_forward: x must be (R, C), got (2)");
  CHECK_THROWS_WITH(kernels::softmax_forward({}, x, Array::empty({3, 2})),
                    "softmax_forward: y f32(3, 2) must be f32(2, 3) and contiguous");
  CHECK_THROWS_WITH(kernels::softmax_forward({}, x.transpose(0, 1), Array::empty({3, 2})),
                    says("softmax_forward: x f32(3, 2) must be contiguous"));
  CHECK_THROWS_WITH(kernels::softmax_backward({}, x, x.to(DType::bf16), x), says("softmax_backward: dy bf16(2, 3)"));
  CHECK_THROWS_WITH(kernels::softmax_backward({}, x, x, Array::empty({2, 2})), says("softmax_backward: dx f32(2, 2)"));
  CHECK_THROWS_WITH(softmax(ids), says("needs a floating dtype"));
}
