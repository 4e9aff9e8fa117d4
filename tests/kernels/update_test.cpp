#include "kernels/update/update.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// Everything of a parameter's update, as plain numbers.
struct Values {
  std::vector<double> dw, w, m, v;
};

void sgd_reference(const kernels::SgdTensor& p, double lr, Values& x, bool with_buffer) {
  for (std::size_t i = 0; i < x.w.size(); ++i) {
    const double g = p.grad_scale * x.dw[i] + p.weight_decay * x.w[i];
    x.m[i] = p.momentum * x.m[i] + g;
    const double direction = !with_buffer ? g : p.nesterov ? g + p.momentum * x.m[i] : x.m[i];
    x.w[i] -= lr * direction;
  }
}

// The rule of torch.optim.AdamW, in update 3.
constexpr double kLr = 0.1, kDecay = 0.3, kStep = 3;

void adamw_reference(const kernels::AdamWTensor& p, Values& x) {
  for (std::size_t i = 0; i < x.w.size(); ++i) {
    const double g = p.grad_scale * x.dw[i];
    x.m[i] = p.beta1 * x.m[i] + (1 - p.beta1) * g;
    x.v[i] = p.beta2 * x.v[i] + (1 - p.beta2) * g * g;
    const double m = x.m[i] / (1 - std::pow(p.beta1, kStep)), v = x.v[i] / (1 - std::pow(p.beta2, kStep));
    x.w[i] -= kLr * (m / (std::sqrt(v) + p.eps) + kDecay * x.w[i]);
  }
}

struct Case {
  Array dw, w, m, v;
  Values values() const {
    return {dw.to_vector<double>(), w.to_vector<double>(), m.to_vector<double>(), v.to_vector<double>()};
  }
};

Case make_case(const Shape& shape, DType dtype) {
  Case c{randn(shape, dtype, 1), randn(shape, dtype, 2), randn(shape, dtype, 3), randn(shape, dtype, 4)};
  const View v = c.v;
  dispatch_floating(dtype, "test", [&]<class T>() {
    for (Dim i = 0; i < v.numel(); ++i) v.as<T>()[i] = convert<T>(std::abs(convert<double>(v.as<T>()[i])));
  });
  return c;
}

// The first moment may cancel: the error of the whole is what counts.
double error(const Array& got, const std::vector<double>& expected) {
  return relative_error(got, Array::from(expected, got.shape()));
}

const std::vector<Shape> kShapes{{1}, {3}, {31}, {7, 5}, {3, 11, 13}, {1023}, {100003}};
const kernels::AdamWTensor kAdamW{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .grad_scale = 0.7};
const kernels::SgdTensor kSgd{.momentum = 0.9, .nesterov = true};

void adamw(const Array& dw, const Array& w, const Array& m, const Array& v) {
  const auto numbers = kernels::adamw_numbers(kLr, kDecay, kAdamW.beta1, kAdamW.beta2, static_cast<Dim>(kStep));
  const Array held = Array::from(std::span<const double>(numbers), {3});
  kernels::AdamWTensor tensor = kAdamW;
  tensor.numbers = held, tensor.dw = dw, tensor.w = w, tensor.m = m, tensor.v = v;
  kernels::adamw_update({}, {&tensor, 1});
}
void adamw(const Case& c) { adamw(c.dw, c.w, c.m, c.v); }

void sgd(kernels::SgdTensor tensor, const Array& dw, const Array& w, const View& buffer) {
  const Array held = Array::full({1}, kLr, DType::f64);
  tensor.numbers = held, tensor.dw = dw, tensor.w = w, tensor.buffer = buffer;
  kernels::sgd_update({}, {&tensor, 1});
}

}  // namespace

TEST_CASE("sgd_update matches a plain loop") {
  const auto isa = GENERATE(as<std::string>(), "native", "avx2", "baseline");
  const IsaLimit limit(isa);
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : kShapes) {
      for (const bool with_buffer : {false, true}) {
        for (const bool nesterov : {false, true}) {
          INFO(isa << " " << dtype << " " << shape << " buffer " << with_buffer << " nesterov " << nesterov);
          const kernels::SgdTensor p{.momentum = 0.9, .weight_decay = 0.2, .grad_scale = 0.7, .nesterov = nesterov};
          const Case c = make_case(shape, dtype);
          Values expected = c.values();
          sgd_reference(p, kLr, expected, with_buffer);
          sgd(p, c.dw, c.w, with_buffer ? View(c.m) : View());
          REQUIRE(error(c.w, expected.w) <= tolerance(dtype, 4));
          if (with_buffer) REQUIRE(error(c.m, expected.m) <= tolerance(dtype, 4));
        }
      }
    }
  }
}

TEST_CASE("adamw_update matches a plain loop") {
  const auto isa = GENERATE(as<std::string>(), "native", "avx2", "baseline");
  const IsaLimit limit(isa);
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : kShapes) {
      INFO(isa << " " << dtype << " " << shape);
      const Case c = make_case(shape, dtype);
      Values expected = c.values();
      adamw_reference(kAdamW, expected);
      adamw(c);
      REQUIRE(error(c.w, expected.w) <= tolerance(dtype, 4));
      REQUIRE(error(c.m, expected.m) <= tolerance(dtype, 4));
      REQUIRE(error(c.v, expected.v) <= tolerance(dtype, 4));
    }
  }
}

TEST_CASE("averages move towards their own weights, each of its own length") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  const Array w = randn({37}, dtype, 1), other_w = randn({5, 3}, dtype, 2);
  const Array average = randn({37}, dtype, 3), other = randn({5, 3}, dtype, 4);
  const auto expected = [](const Array& from, const Array& weights) {
    std::vector<double> values = from.to_vector<double>();
    const auto of_weights = weights.to_vector<double>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.9 * values[i] + 0.1 * of_weights[i];
    return Array::from(values, from.shape());
  };
  const Array first = expected(average, w), second = expected(other, other_w);
  const kernels::EmaTensor tensors[] = {{w, average}, {other_w, other}};
  kernels::ema_update({}, 0.9, tensors);
  REQUIRE(relative_error(average, first) <= tolerance(dtype));
  REQUIRE(relative_error(other, second) <= tolerance(dtype));
  const kernels::EmaTensor wrong{w, other};
  REQUIRE_THROWS_WITH(kernels::ema_update({}, 0.9, {&wrong, 1}),
                      Catch::Matchers::StartsWith("ema_update: average"));
}

TEST_CASE("updates touch only their own elements") {
  for (const Dim count : {1, 5, 17, 1025}) {
    const Case c = make_case({count + 32}, DType::f32);
    const Case before{c.dw.clone(), c.w.clone(), c.m.clone(), c.v.clone()};
    const auto inner = [&](const Array& a) { return a.slice(0, 16, 16 + count); };
    adamw(inner(c.dw), inner(c.w), inner(c.m), inner(c.v));
    sgd(kSgd, inner(c.dw), inner(c.w), inner(c.m));
    for (const auto& [after, old] : {std::pair(c.w, before.w), {c.m, before.m}, {c.v, before.v}}) {
      REQUIRE(bitwise_equal(after.slice(0, 0, 16), old.slice(0, 0, 16)));
      REQUIRE(bitwise_equal(after.slice(0, 16 + count, count + 32), old.slice(0, 16 + count, count + 32)));
      REQUIRE_FALSE(bitwise_equal(inner(after), inner(old)));
    }
    REQUIRE(bitwise_equal(c.dw, before.dw));
  }
}

TEST_CASE("updates do not depend on the number of threads") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    REQUIRE(same_on_all_threads([&] {
      const Case c = make_case({123457}, dtype);
      adamw(c);
      sgd(kSgd, c.dw, c.w, c.m);
      return c.w;
    }));
  }
}

TEST_CASE("a gradient that is not finite reaches the weight") {
  const Case c = make_case({5}, DType::f32);
  c.dw.data<float>()[4] = std::numeric_limits<float>::quiet_NaN();
  adamw(c);
  REQUIRE(std::isnan(c.w.data<float>()[4]));
  REQUIRE(std::isfinite(c.w.data<float>()[3]));
}

TEST_CASE("updates refuse views that do not match") {
  const Case c = make_case({4, 6}, DType::f32);
  const Case other = make_case({6, 4}, DType::f32);
  const Case wide = make_case({4, 6}, DType::f64);
  const auto of_adamw = [](const std::string& wrong) { return says("adamw_update: " + wrong + " must be f32(4, 6)"); };
  REQUIRE_THROWS_WITH(adamw(other.dw, c.w, c.m, c.v), of_adamw("gradient f32(6, 4)"));
  REQUIRE_THROWS_WITH(adamw(wide.dw, c.w, c.m, c.v), of_adamw("gradient f64(4, 6)"));
  REQUIRE_THROWS_WITH(adamw(c.dw, c.w, other.m, c.v), of_adamw("first moment f32(6, 4)"));
  REQUIRE_THROWS_WITH(adamw(c.dw, c.w, c.m, other.v), of_adamw("second moment f32(6, 4)"));
  REQUIRE_THROWS_WITH(sgd(kSgd, c.dw, c.w, other.m), says("sgd_update: momentum buffer f32(6, 4) must be f32(4, 6)"));
  REQUIRE_THROWS_WITH(sgd(kSgd, other.dw.transpose(0, 1), c.w, c.m), says("sgd_update: gradient f32(4, 6) must be contiguous"));
  REQUIRE_THROWS_WITH(kernels::adamw_numbers(0.1, 0, 0.9, 0.999, 0), says("adamw_numbers: steps count from 1, got 0"));
  // Nothing is written when any of many is wrong.
  const Array before = c.w.clone(), numbers = Array::full({1}, kLr, DType::f64);
  const kernels::SgdTensor right{.numbers = numbers, .dw = c.dw, .w = c.w};
  for (const ConstView& wrong : {ConstView(), ConstView(Array::full({1}, kLr)), ConstView(Array::full({3}, kLr, DType::f64))}) {
    const kernels::SgdTensor tensors[] = {right, {.numbers = wrong, .dw = c.dw, .w = c.w}};
    REQUIRE_THROWS_WITH(kernels::sgd_update({}, tensors), Catch::Matchers::StartsWith("sgd_update: needs numbers (1) in f64"));
    REQUIRE(bitwise_equal(c.w, before));
  }
}
