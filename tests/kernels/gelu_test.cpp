#include "kernels/gelu/gelu.h"

#include <numbers>

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::Gelu;

namespace {

double gelu_value(double x, Gelu kind) {
  if (kind == Gelu::erf) return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x, Gelu kind) {
  if (kind == Gelu::erf) {
    return 0.5 * std::erfc(-x / std::numbers::sqrt2) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
  }
  const double c = std::sqrt(2 / std::numbers::pi), t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

Array gelu_of(const Array& x, Gelu kind) {
  Array y = empty_like(x);
  kernels::gelu_forward(x.exec(), x, kind, y);
  return y;
}

Array gradient_of(const Array& x, const Array& dy, Gelu kind) {
  Array dx = empty_like(x);
  kernels::gelu_backward(x.exec(), x, dy, kind, dx);
  return dx;
}

// The reference, value by value in f64 on the rounded inputs.
template <class F>
Array apply(const Array& x, F f) {
  auto values = x.to_vector<double>();
  for (double& v : values) v = f(v);
  return Array::from(values, x.shape());
}

}  // namespace

TEST_CASE("gelu matches its formula", "[gelu]") {
  const IsaLimit isa(GENERATE(as<std::string>(), "baseline", std::string(kernels::isa_limit())));
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 11}, Shape{31, 1031});
  CAPTURE(kernels::isa_name(), static_cast<int>(kind), dtype, shape);
  Array x = randn(shape, DType::f64, 1);
  kernels::gelu_forward;
  x = apply(x, [](double v) { return 3 * v; }).to(dtype);
  const Array dy = randn(shape, dtype, 2);
  CHECK(relative_error(gelu_of(x, kind), apply(x, [&](double v) { return gelu_value(v, kind); })) <=
        tolerance(dtype));
  const Array slope = apply(x, [&](double v) { return gelu_slope(v, kind); });
  auto expected = slope.to_vector<double>();
  const auto cotangent = dy.to_vector<double>();
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] *= cotangent[i];
  CHECK(relative_error(gradient_of(x, dy, kind), Array::from(expected, shape)) <= tolerance(dtype));
}
