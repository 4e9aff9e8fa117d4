#include "kernels/gelu/gelu.h"

#include <bit>
#include <numbers>

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::Gelu;

namespace {

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), which does not cancel.
double gate(double x) { return 1 / (1 + std::exp(-2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); }

double gelu_value(double x, Gelu kind) {
  return kind == Gelu::erf ? 0.5 * x * std::erfc(-x / std::numbers::sqrt2) : x * gate(x);
}

double gelu_slope(double x, Gelu kind) {
  if (kind == Gelu::erf) {
    return 0.5 * std::erfc(-x / std::numbers::sqrt2) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
  }
  const double p = gate(x), du = std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
  return p == 0 || p == 1 ? p : p + 2 * x * p * (1 - p) * du;
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

// factor[i] * f(x[i]) in f64.
template <class F>
Array map_values(const Array& x, const Array& factor, F f) {
  auto values = x.to_vector<double>();
  const auto factors = factor.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = factors[i] * f(values[i]);
  return Array::from(values, x.shape());
}

}  // namespace

TEST_CASE("gelu matches its formula", "[gelu]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 11}, Shape{31, 1031});
  CAPTURE(kernels::isa_name(), static_cast<int>(kind), name_of(dtype), shape);
  const Array three = Array::full(shape, 3, DType::f64);
  const Array x = map_values(randn(shape, DType::f64, 1), three, [](double v) { return v; }).to(dtype);
  const Array dy = randn(shape, dtype, 2), one = Array::full(shape, 1);
  CHECK(relative_error(gelu_of(x, kind), map_values(x, one, [&](double v) { return gelu_value(v, kind); })) <=
        tolerance(dtype));
  CHECK(relative_error(gradient_of(x, dy, kind), map_values(x, dy, [&](double v) { return gelu_slope(v, kind); })) <=
        tolerance(dtype));
}

TEST_CASE("gelu keeps its relative accuracy in the tails", "[gelu]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  for (float v = -5; v < 8; v += 0.37f) {
    CAPTURE(v);
    const Array x = Array::full({1}, static_cast<double>(v)), one = Array::full({1}, 1);
    const double value = gelu_value(static_cast<double>(v), kind);
    CHECK(std::abs(gelu_of(x, kind).item() - value) <= 5e-6 * std::abs(value));
    CHECK(std::abs(gradient_of(x, one, kind).item() - gelu_slope(static_cast<double>(v), kind)) <= 1e-6);
  }
}

TEST_CASE("gelu of every value of bf16 is right to the last bit but one", "[gelu]") {
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  std::vector<double> values;
  for (std::uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const float value = std::bit_cast<float>(bits << 16);
    if (std::isfinite(value)) values.push_back(static_cast<double>(value));
  }
  const Array x = Array::from(values, {static_cast<Dim>(values.size())}).to(DType::bf16);
  const auto y = gelu_of(x, kind).to_vector<double>();
  const auto slopes = gradient_of(x, Array::full(x.shape(), 1, DType::bf16), kind).to_vector<double>();
  // A bit is 2⁻⁷ of a value or less; near the smallest of f32 it may be zero.
  const auto close = [](double got, double expected) { return std::abs(got - expected) <= std::abs(expected) / 128 + 1e-36; };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double slope = gelu_slope(values[i], kind);
    if (!close(y[i], gelu_value(values[i], kind))) FAIL("gelu of " << values[i] << " is " << y[i]);
    if (!close(slopes[i], slope) && !(std::abs(slopes[i] - slope) <= 1e-6)) FAIL("slope at " << values[i] << " is " << slopes[i]);
  }
}

TEST_CASE("gelu of extreme values", "[gelu]") {
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const auto value = [&](double v) { return gelu_of(Array::full({1}, v, dtype), kind).item(); };
  const auto slope = [&](double v) {
    return gradient_of(Array::full({1}, v, dtype), Array::full({1}, 1, dtype), kind).item();
  };
  const double big = convert<double>(bfloat16(1e30f));
  CHECK(value(big) == big);
  CHECK(std::abs(value(-big)) < 1);
  CHECK(value(0) == 0);
  CHECK(slope(big) == 1);
  CHECK(std::abs(slope(-big)) < 1e-20);
  CHECK(slope(0) == 0.5);
  CHECK(std::isnan(value(std::nan(""))));
  CHECK(std::isnan(slope(std::nan(""))));
}

TEST_CASE("gelu gradient matches finite differences", "[gelu]") {
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  const Array x = randn({5, 7}, DType::f64, 3), dy = randn({5, 7}, DType::f64, 4);
  const Array expected = finite_difference(x, dy, [&](const Array& v) { return gelu_of(v, kind); });
  CHECK(relative_error(gradient_of(x, dy, kind), expected) <= 1e-6);
}

TEST_CASE("gelu gradient may overwrite dy", "[gelu]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = randn({13, 17}, dtype, 5), dy = randn({13, 17}, dtype, 6);
  const Array expected = gradient_of(x, dy, Gelu::erf);
  kernels::gelu_backward(x.exec(), x, dy, Gelu::erf, dy);
  CHECK(bitwise_equal(dy, expected));
}

TEST_CASE("gelu may overwrite its input", "[gelu]") {
  const Gelu kind = GENERATE(Gelu::erf, Gelu::tanh);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = randn({13, 17}, dtype, 9), expected = gelu_of(x, kind);
  kernels::gelu_forward(x.exec(), x, kind, x);
  CHECK(bitwise_equal(x, expected));
}

TEST_CASE("gelu does not depend on the number of threads", "[gelu]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array x = randn({101, 331}, dtype, 7), dy = randn({101, 331}, dtype, 8);
  CHECK(same_on_all_threads([&] { return gelu_of(x, Gelu::tanh); }));
  CHECK(same_on_all_threads([&] { return gradient_of(x, dy, Gelu::erf); }));
}

TEST_CASE("gelu names what is wrong with its input", "[gelu]") {
  const Array x = randn({2, 3}, DType::f32, 1), y = Array::empty({3, 2});
  CHECK_THROWS_WITH(kernels::gelu_forward(x.exec(), x, Gelu::erf, y),
                    says("gelu_forward: y f32(3, 2) must be f32(2, 3)"));
  CHECK_THROWS_WITH(kernels::gelu_forward(x.exec(), {}, Gelu::erf, Array::empty({})), "gelu_forward: x is undefined");
  CHECK_THROWS_AS(kernels::gelu_forward(x.exec(), x.transpose(0, 1), Gelu::erf, y), InputError);
  CHECK_THROWS_AS(kernels::gelu_forward(x.exec(), x, Gelu::erf, Array::empty({2, 3}, DType::bf16)), InputError);
  const Array ids = Array::zeros({2}, DType::i32);
  CHECK_THROWS_WITH(kernels::gelu_forward(x.exec(), ids, Gelu::erf, ids),
                    says("needs a floating dtype"));
}
