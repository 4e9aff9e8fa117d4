// Functions of one value, softmax, and what losses make of their targets.
#include "autograd/ops.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {


using Unary = Tensor (*)(const Tensor&);
constexpr std::pair<const char*, Unary> kUnary[] = {{"relu", F::relu}, {"sigmoid", F::sigmoid}, {"silu", F::silu},
                                                    {"tanh", F::tanh}, {"exp", F::exp},         {"log", F::log},
                                                    {"sqrt", F::sqrt}};

}  // namespace

TEST_CASE("functions of one value: gradients match finite differences") {
  for (const auto& [name, function] : kUnary) {
    CAPTURE(name);
    const Unary f = function;
    const bool needs_positive = f == F::log || f == F::sqrt;
    const auto x = [&](const Shape& shape) { return needs_positive ? positive(shape, 1) : r(shape, 1); };
    REQUIRE_GRADIENTS([=](const auto& t) { return f(t[0]); }, x({3, 17}));
    REQUIRE_GRADIENTS([=](const auto& t) { return f(F::transpose(t[0], 0, 1)) * t[1]; }, x({4, 3}), r({3, 4}, 2));
  }
}

TEST_CASE("functions of one value give the function of their name, in the dtype of x") {
  const double x = 0.75, sigmoid = 1 / (1 + std::exp(-x));
  const double expected[] = {x, sigmoid, x * sigmoid, std::tanh(x), std::exp(x), std::log(x), std::sqrt(x)};
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (std::size_t i = 0; i < std::size(kUnary); ++i) {
      CAPTURE(kUnary[i].first, name_of(dtype));
      const Tensor y = kUnary[i].second(Array::full({2, 1}, x, dtype));
      REQUIRE(y.dtype() == dtype);
      REQUIRE(y.shape() == Shape{2, 1});
      REQUIRE(relative_error(y.value(), Array::full({2, 1}, expected[i], DType::f64)) <= tolerance(dtype));
    }
  }
  REQUIRE(F::relu(Array::full({}, -x)).item() == 0);
}

TEST_CASE("a value that backward needs must not be changed in place") {
  const Tensor x = Tensor::leaf(r({3}, 3)), y = F::relu(x);
  fill(y.value(), 1);
  REQUIRE_THROWS_WITH(y.backward(r({3}, 4)), says("relu: a value saved for backward"));
}

TEST_CASE("softmax: gradients match finite differences, over every dimension") {
  for (const int dim : {0, 1, 2, -1, -3}) {
    REQUIRE_GRADIENTS([=](const auto& t) { return F::softmax(t[0], dim); }, r({3, 4, 5}, 18));
    REQUIRE_GRADIENTS([=](const auto& t) { return F::softmax(F::transpose(t[0], 0, 1), dim) * t[1]; }, r({4, 3, 5}, 19),
                      r({3, 4, 5}, 20));
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const Tensor y = F::softmax(randn({3, 4, 5}, dtype, 21), dim);
      REQUIRE(y.shape() == Shape{3, 4, 5});
      REQUIRE(y.dtype() == dtype);
      const Array sums = F::sum(F::cast(y, DType::f64), dim).value();
      REQUIRE(relative_error(sums, Array::full(sums.shape(), 1, DType::f64)) <= tolerance(dtype));
    }
  }
}

TEST_CASE("attention written by hand, with a mask of -inf, is that of its operation") {
  const Array mask = Array::zeros({4, 4}, DType::f64);
  for (Dim t = 0; t < 4; ++t) fill(mask.slice(0, t, t + 1).slice(1, t + 1, 4), -std::numeric_limits<double>::infinity());
  const Array q = r({1, 2, 4, 3}, 22), k = r({1, 2, 4, 3}, 23), v = r({1, 2, 4, 3}, 24);
  const Tensor scores = F::matmul(q, F::transpose(k, -2, -1)) / std::sqrt(3.0) + mask;
  const Tensor o = F::matmul(F::softmax(scores, -1), v), expected = F::scaled_dot_product_attention(q, k, v, true);
  REQUIRE(relative_error(o.value(), expected.value()) <= 1e-14);
}

TEST_CASE("smoothing spreads its share of the target over all classes, and a batch without rows has a gradient of zeros") {
  const Tensor logits = r({6, 5}, 1);
  const Array target = random_ids({6}, 5, 2);
  double spread = 0;
  for (std::int32_t k = 0; k < 5; ++k) {
    spread += F::cross_entropy(logits, {.target = Array::from(std::vector<std::int32_t>(6, k), {6})}).item() / 5;
  }
  const double hard = F::cross_entropy(logits, {.target = target}).item();
  REQUIRE(std::abs(F::cross_entropy(logits, {.target = target, .smoothing = 0.3}).item() - (0.7 * hard + 0.3 * spread)) <= 1e-14);

  const Tensor weight = Tensor::leaf(r({5, 4}, 3));
  F::linear_cross_entropy(r({0, 4}, 4), weight, {.target = random_ids({0}, 5, 1)}).backward();
  REQUIRE(all_equal(weight.grad(), 0));
}

TEST_CASE("functions name themselves and the operand that is undefined") {
  for (const auto& [name, function] : kUnary) {
    REQUIRE_THROWS_WITH(function({}), std::string(name) + ": operand 1 is undefined; it must be given a value first");
  }
  REQUIRE_THROWS_WITH(F::softmax({}, 0), says("softmax: operand 1 is undefined"));
  REQUIRE_THROWS_WITH(F::softmax(r({2, 3}, 28), 2), says("softmax: dimension 2 does not exist"));
}
