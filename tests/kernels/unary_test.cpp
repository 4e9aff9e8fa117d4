#include "kernels/unary/unary.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::Unary;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr Unary kAll[] = {Unary::relu, Unary::sigmoid, Unary::silu, Unary::tanh, Unary::exp, Unary::log, Unary::sqrt};

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

double value_of(Unary kind, double x) {
  switch (kind) {
    case Unary::relu: return x > 0 ? x : 0;
    case Unary::sigmoid: return sigmoid(x);
    case Unary::silu: return x * sigmoid(x);
    case Unary::tanh: return std::tanh(x);
    case Unary::exp: return std::exp(x);
    case Unary::log: return std::log(x);
    case Unary::sqrt: return std::sqrt(x);
  }
  return NAN;
}

double slope_of(Unary kind, double x) {
  switch (kind) {
    case Unary::relu: return x > 0 ? 1 : 0;
    case Unary::sigmoid: return sigmoid(x) * sigmoid(-x);
    case Unary::silu: return sigmoid(x) * (1 + x * sigmoid(-x));
    case Unary::tanh: return 1 / (std::cosh(x) * std::cosh(x));
    case Unary::exp: return std::exp(x);
    case Unary::log: return 1 / x;
    case Unary::sqrt: return 0.5 / std::sqrt(x);
  }
  return NAN;
}

Array forward(Unary kind, const Array& x) {
  const Array y = nan_like(x);
  kernels::unary_forward(x.exec(), x, kind, y);
  return y;
}
Array backward(Unary kind, const Array& x, const Array& dy) {
  const Array dx = nan_like(x);
  kernels::unary_backward(x.exec(), x, dy, kind, dx);
  return dx;
}

double value(Unary kind, double x, DType dtype) { return forward(kind, Array::full({1}, x, dtype)).item(); }
double slope(Unary kind, double x, DType dtype) {
  return backward(kind, Array::full({1}, x, dtype), Array::full({1}, 1, dtype)).item();
}

// Standard normal values, and their magnitudes where the function has no others.
Array inputs(Unary kind, const Shape& shape, DType dtype, std::uint64_t key) {
  std::vector<double> values = randn(shape, DType::f64, key).to_vector<double>();
  for (double& v : values) v = kind == Unary::log || kind == Unary::sqrt ? std::abs(v) + 0.01 : 3 * v;
  return Array::from(values, shape).to(dtype);
}

// What a value or slope may be off by: a few units in the last place of the type of the arithmetic, one rounding to bf16.
double relative_tolerance(DType dtype) { return dtype == DType::f64 ? 2e-15 : dtype == DType::f32 ? 8e-7 : 4e-3; }

}  // namespace

TEST_CASE("functions of one value match the standard library's, slopes their formulas", "[unary]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{}, Shape{1}, Shape{7}, Shape{3, 5, 11}, Shape{31, 1031}, Shape{2, 0, 3});
  for (const Unary kind : kAll) {
    CAPTURE(kernels::isa_name(), kernels::name_of(kind), name_of(dtype), shape);
    const Array x = inputs(kind, shape, dtype, 1), dy = randn(shape, dtype, 2);
    auto values = x.to_vector<double>(), gradients = dy.to_vector<double>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      gradients[i] *= slope_of(kind, values[i]);
      values[i] = value_of(kind, values[i]);
    }
    const Array y = forward(kind, x), dx = backward(kind, x, dy);
    if (shape.numel() == 0 || all_equal(Array::from(values, shape), 0)) continue;
    CHECK(relative_error(y, Array::from(values, shape)) <= tolerance(dtype));
    CHECK(relative_error(dx, Array::from(gradients, shape)) <= tolerance(dtype));
  }
}

TEST_CASE("functions of one value keep their relative accuracy over the whole range", "[unary]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Unary kind = GENERATE(from_range(std::begin(kAll), std::end(kAll)));
  CAPTURE(kernels::isa_name(), kernels::name_of(kind), name_of(dtype));
  const bool positive = kind == Unary::log || kind == Unary::sqrt;
  const double widest = dtype == DType::f64 ? 708 : 87, largest = dtype == DType::f64 ? 300 : 37;
  std::vector<double> given;
  for (int i = -4000; i <= 4000; ++i) {
    const double t = i / 4000.0;
    if (!positive) given.push_back(widest * t), given.push_back(2 * t), given.push_back(1e-6 * t);
    else given.push_back(std::pow(10, largest * t)), given.push_back(std::pow(10, 0.1 * t));
  }
  const Array x = Array::from(given, {static_cast<Dim>(given.size())}).to(dtype), ones = Array::full(x.shape(), 1, dtype);
  const auto exact = x.to_vector<double>(), y = forward(kind, x).to_vector<double>();
  const auto dx = backward(kind, x, ones).to_vector<double>();
  // Nothing is asked of what is, or a factor of which is, below the smallest normal number of the type (tanh's slope is
  // 4 σ'(2x)), nor of the digits that a sum loses by cancelling: silu's slope is 0 at x = -1.278.
  const double tiny = dtype == DType::f64 ? 1e-300 : 5e-38, bound = relative_tolerance(dtype);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double v = value_of(kind, exact[i]), s = slope_of(kind, exact[i]);
    const double lost = kind == Unary::silu ? bound * sigmoid(exact[i]) : 0;
    if (!(std::abs(y[i] - v) <= bound * std::abs(v) + tiny)) FAIL("value at " << exact[i] << " is " << y[i] << ", not " << v);
    if (!(std::abs(dx[i] - s) <= bound * std::abs(s) + lost + tiny)) {
      FAIL("slope at " << exact[i] << " is " << dx[i] << ", not " << s);
    }
  }
}

TEST_CASE("functions of one value at the ends of their range", "[unary]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  CAPTURE(kernels::isa_name(), name_of(dtype));
  struct Row {
    Unary kind;
    double x, y, dx;
  };
  const double low = convert<double>(bfloat16(-3e38f)), big = -low;
  const double far = dtype == DType::f64 ? 1000 : 104;  // where e^-x is 0
  for (const auto& [kind, x, y, dx] : std::initializer_list<Row>{
           {Unary::relu, -kInf, 0, 0},      {Unary::relu, -1, 0, 0},       {Unary::relu, 0, 0, 0},
           {Unary::relu, 2, 2, 1},          {Unary::relu, kInf, kInf, 1},  {Unary::sigmoid, -kInf, 0, 0},
           {Unary::sigmoid, low, 0, 0},     {Unary::sigmoid, -far, 0, 0},  {Unary::sigmoid, 0, 0.5, 0.25},
           {Unary::sigmoid, far, 1, 0},     {Unary::sigmoid, big, 1, 0},   {Unary::sigmoid, kInf, 1, 0},
           {Unary::silu, -kInf, 0, 0},      {Unary::silu, low, 0, 0},      {Unary::silu, -far, 0, 0},
           {Unary::silu, 0, 0, 0.5},        {Unary::silu, far, far, 1},    {Unary::silu, big, big, 1},
           {Unary::silu, kInf, kInf, 1},    {Unary::tanh, -kInf, -1, 0},   {Unary::tanh, low, -1, 0},
           {Unary::tanh, -far, -1, 0},      {Unary::tanh, 0, 0, 1},        {Unary::tanh, far, 1, 0},
           {Unary::tanh, kInf, 1, 0},       {Unary::exp, -kInf, 0, 0},     {Unary::exp, low, 0, 0},
           {Unary::exp, -far, 0, 0},        {Unary::exp, 0, 1, 1},         {Unary::exp, far, kInf, kInf},
           {Unary::exp, big, kInf, kInf},   {Unary::exp, kInf, kInf, kInf}, {Unary::log, 0, -kInf, kInf},
           {Unary::log, 1, 0, 1},           {Unary::log, kInf, kInf, 0},   {Unary::sqrt, 0, 0, kInf},
           {Unary::sqrt, 4, 2, 0.25},       {Unary::sqrt, kInf, kInf, 0}}) {
    INFO(kernels::name_of(kind) << " of " << x);
    CHECK(value(kind, x, dtype) == y);
    CHECK(slope(kind, x, dtype) == dx);
  }
  for (const Unary kind : {Unary::log, Unary::sqrt}) {
    for (const double x : {-1.0, low, -kInf}) CHECK(std::isnan(value(kind, x, dtype)));
  }
  for (const Unary kind : kAll) {
    INFO(kernels::name_of(kind));
    CHECK(std::isnan(value(kind, NAN, dtype)));
    if (kind == Unary::relu) CHECK(slope(kind, NAN, dtype) == 1);
    else CHECK(std::isnan(slope(kind, NAN, dtype)));
  }
}

TEST_CASE("exp is finite up to the largest number that its type has", "[unary]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const std::pair<DType, double> ends[] = {{DType::f32, std::log(3.4e38)}, {DType::f64, std::log(1.797e308)}};
  for (const auto& [dtype, end] : ends) {
    for (const double before : {0.0, 0.1, 0.5, 0.7, 1.0, 3.0, 4.0, 4.5}) {
      const double x = Array::full({1}, end - before, dtype).item();
      CAPTURE(name_of(dtype), x);
      CHECK(std::abs(value(Unary::exp, x, dtype) / std::exp(x) - 1) <= relative_tolerance(dtype));
    }
    CHECK(value(Unary::exp, end + 0.001, dtype) == kInf);
  }
}

TEST_CASE("functions of one value work in place, and relu's gradient from its result", "[unary]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  for (const Unary kind : kAll) {
    CAPTURE(kernels::name_of(kind), name_of(dtype));
    const Array x = inputs(kind, {13, 17}, dtype, 3), dy = randn({13, 17}, dtype, 4);
    const Array y = forward(kind, x), dx = backward(kind, x, dy);
    if (kind == Unary::relu) CHECK(bitwise_equal(backward(kind, y, dy), dx));
    kernels::unary_backward(x.exec(), x, dy, kind, dy);
    CHECK(bitwise_equal(dy, dx));
    kernels::unary_forward(x.exec(), x, kind, x);
    CHECK(bitwise_equal(x, y));
  }
}

TEST_CASE("functions of one value do not depend on the number of threads", "[unary]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array x = randn({101, 331}, dtype, 5), dy = randn({101, 331}, dtype, 6);
  CHECK(same_on_all_threads([&] { return forward(Unary::silu, x); }));
  CHECK(same_on_all_threads([&] { return backward(Unary::tanh, x, dy); }));
}

TEST_CASE("functions of one value name what is wrong with their input", "[unary]") {
  const Array x = randn({2, 3}, DType::f32, 1), ids = Array::zeros({2}, DType::i32);
  CHECK_THROWS_WITH(kernels::unary_forward({}, x, Unary::relu, Array::empty({3, 2})),
                    "unary_forward: y f32(3, 2) must be f32(2, 3) and contiguous");
  CHECK_THROWS_WITH(kernels::unary_forward({}, x.transpose(0, 1), Unary::relu, Array::empty({3, 2})),
                    says("unary_forward: x f32(3, 2) must be contiguous"));
  CHECK_THROWS_WITH(kernels::unary_backward({}, x, Array::empty({2, 3}, DType::bf16), Unary::relu, x),
                    says("unary_backward: dy bf16(2, 3)"));
  CHECK_THROWS_WITH(kernels::unary_backward({}, x, x, Unary::relu, Array::empty({2})), says("unary_backward: dx f32(2)"));
  CHECK_THROWS_WITH(kernels::unary_forward({}, {}, Unary::exp, x), "unary_forward: x is undefined");
  CHECK_THROWS_WITH(kernels::unary_backward({}, x, {}, Unary::exp, x), "unary_backward: dy is undefined");
  CHECK_THROWS_WITH(kernels::unary_forward({}, ids, Unary::exp, ids), says("needs a floating dtype"));
}
