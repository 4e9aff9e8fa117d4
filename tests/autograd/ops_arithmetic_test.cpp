// Quotients, numbers beside tensors, sums over a dimension, and what arithmetic says of operands that it cannot take.
#include "autograd/ops.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {


}  // namespace

TEST_CASE("quotients: gradients match finite differences, shapes broadcast") {
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] / t[1]; }, r({2, 3, 5}, 5), positive({3, 5}, 6));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] / t[1]; }, r({7}, 7), positive({2, 7}, 8));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] / t[1]; }, r({2, 3, 1}, 9), positive({1, 5}, 10));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] / t[0] + t[0] / (t[0] * t[0]); }, positive({11}, 11));
  const Tensor a = r({2, 3}, 12), b = positive({3}, 13);
  REQUIRE_GRADIENTS([=](const auto& t) { return t[0] / b; }, a.value());
  REQUIRE_GRADIENTS([=](const auto& t) { return a / t[0]; }, b.value());
  REQUIRE(relative_error(F::mul(F::div(a, b), b).value(), a.value()) <= 1e-15);
}

TEST_CASE("numbers and tensors: gradients match finite differences") {
  REQUIRE_GRADIENTS([](const auto& t) { return -t[0]; }, r({3, 4}, 14));
  REQUIRE_GRADIENTS([](const auto& t) { return 2.5 * t[0] / 3 + 1 - (0.5 - t[0]) * (t[0] - 2); }, r({3, 4}, 15));
  REQUIRE_GRADIENTS([](const auto& t) { return F::affine(F::transpose(t[0], 0, 1), -3, 0.5); }, r({3, 4}, 16));
}

TEST_CASE("numbers and tensors: values") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor x = Array::full({2}, 3, dtype);
    const auto is = [&](const Tensor& y, double value) { return y.dtype() == dtype && all_equal(y.value(), value); };
    REQUIRE(is(-x, -3));
    REQUIRE(is(2 * x, 6));
    REQUIRE(is(x * 2, 6));
    REQUIRE(is(x / 2, 1.5));
    REQUIRE(is(x + 2, 5));
    REQUIRE(is(2 + x, 5));
    REQUIRE(is(x - 2, 1));
    REQUIRE(is(2 - x, -1));
    REQUIRE(is(F::affine(x, 2, 1), 7));
  }
}

TEST_CASE("sums over a dimension: gradients match finite differences, values are those of the formula") {
  for (const int dim : {0, 1, 2, -1}) {
    REQUIRE_GRADIENTS([=](const auto& t) { return F::sum(t[0], dim); }, r({3, 4, 2}, 17));
  }
  const Tensor x = Array::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3});
  REQUIRE(F::sum(x, 0).value().to_vector<double>() == std::vector<double>{5, 7, 9});
  REQUIRE(F::sum(x, 1).value().to_vector<double>() == std::vector<double>{6, 15});
  REQUIRE(F::mean(x, -1).value().to_vector<double>() == std::vector<double>{2, 5});
}

TEST_CASE("operations name themselves and the operand that is undefined") {
  const Tensor none;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = randn({2, 3}, dtype, 25);
    using Binary = Tensor (*)(const Tensor&, const Tensor&);
    for (const auto& [name, op] : std::initializer_list<std::pair<std::string, Binary>>{
             {"add", F::add}, {"sub", F::sub}, {"mul", F::mul}, {"div", F::div}}) {
      REQUIRE_THROWS_WITH(op(none, x), name + ": operand 1 is undefined; it must be given a value first");
      REQUIRE_THROWS_WITH(op(x, none), name + ": operand 2 is undefined; it must be given a value first");
      REQUIRE_THROWS_WITH(op(x, r({2, 3}, 26)), says(name + ": dtypes ") && says("cast"));
      REQUIRE_THROWS_WITH(op(x, randn({4}, dtype, 27)), name + ": shapes (2, 3) and (4) do not broadcast");
    }
  }
  const auto refused = [](const char* name) { return says(std::string(name) + ": operand 1 is undefined"); };
  REQUIRE_THROWS_WITH(F::gelu(none), refused("gelu"));
  REQUIRE_THROWS_WITH(none * 2, refused("scale"));
  REQUIRE_THROWS_WITH(none + 2, refused("affine"));
  REQUIRE_THROWS_WITH(F::expand(none, {2}), refused("expand"));
  REQUIRE_THROWS_WITH(F::drop_path(none, {0.5, 1, 2}), refused("drop_path"));
  REQUIRE_THROWS_WITH(F::sum(none), refused("sum"));
  REQUIRE_THROWS_WITH(F::sum(none, 0), refused("sum"));
  REQUIRE_THROWS_WITH(F::mean(none, 0), refused("mean"));
  REQUIRE_THROWS_WITH(F::reshape(none, {2}), refused("reshape"));
  REQUIRE_THROWS_WITH(F::transpose(none, 0, 1), refused("transpose"));
  REQUIRE_THROWS_WITH(F::permute(none, {1, 0}), refused("permute"));
  REQUIRE_THROWS_WITH(F::slice(none, 0, 0, 1), refused("slice"));
  REQUIRE_THROWS_WITH(F::select(none, 0, 0), refused("select"));
  REQUIRE_THROWS_WITH(F::cast(none, DType::f32), refused("cast"));
  REQUIRE_THROWS_WITH(F::multi_head_attention(none, 2, true), refused("multi_head_attention"));
  REQUIRE_THROWS_WITH(F::cached_attention(none, 2, {}), refused("cached_attention"));
  REQUIRE_THROWS_WITH(F::cross_entropy(none, {}), refused("cross_entropy"));
  const Tensor x = r({2, 3}, 30), row = r({3}, 31);
  const auto lacks_second = [](const char* name) { return says(std::string(name) + ": operand 2 is undefined"); };
  REQUIRE_THROWS_WITH(F::concat(x, none, 0), lacks_second("concat"));
  REQUIRE_THROWS_WITH(F::matmul(x, none), lacks_second("matmul"));
  REQUIRE_THROWS_WITH(F::linear(x, none), lacks_second("linear"));
  REQUIRE_THROWS_WITH(F::linear(F::activate(x, kernels::Gelu::erf), none), lacks_second("linear"));
  REQUIRE_THROWS_WITH(F::linear_gelu(x, none, {}, kernels::Gelu::erf), lacks_second("linear"));
  REQUIRE_THROWS_WITH(F::layer_norm(x, none, row, 1e-5), lacks_second("layer_norm"));
  REQUIRE_THROWS_WITH(F::add_layer_norm(x, none, row, row, 1e-5), lacks_second("add_layer_norm"));
  REQUIRE_THROWS_WITH(F::scaled_dot_product_attention(x, none, x, true), lacks_second("scaled_dot_product_attention"));
  REQUIRE_THROWS_WITH(F::embedding(x, none, DType::f32), lacks_second("embedding"));
  REQUIRE_THROWS_WITH(F::linear_cross_entropy(x, none, {}), lacks_second("linear_cross_entropy"));
  REQUIRE_THROWS_WITH(F::sum(r({2, 3}, 28), 2), says("sum: dimension 2 does not exist"));
}

TEST_CASE("operations name the shapes and dtypes that they cannot take") {
  REQUIRE_THROWS_WITH(F::matmul(r({3}, 1), r({3, 5}, 2)), says("matmul: operands need two dimensions or more; a (3), b (3, 5)"));
  REQUIRE_THROWS_WITH(F::layer_norm(r({2, 3}, 1), r({4}, 2), r({4}, 3), 1e-5), says("must have the last dimension of x (2, 3)"));
  REQUIRE_THROWS_WITH(F::layer_norm(r({2, 3}, 1), r({3}, 2), r({1}, 3), 1e-5), says("layer_norm: weight (3) and bias (1)"));
  REQUIRE_THROWS_WITH(F::embedding(r({4, 3}, 1), r({2}, 2), DType::f64), says("embedding: needs a table (V, C) and i32 ids"));
  REQUIRE_THROWS_WITH(F::cross_entropy(r({3}, 1), {.target = random_ids({3}, 2, 1)}), says("logits must be (R, V), got (3)"));
  REQUIRE_THROWS_WITH(F::linear_cross_entropy(r({2, 3}, 1), r({5, 4}, 2), {.target = random_ids({2}, 5, 1)}),
                      says("linear_cross_entropy: x (2, 3) must be (R, C) and weight (5, 4) (V, C)"));
  REQUIRE_THROWS_WITH(Tensor().value(), says("tensor: undefined"));
  REQUIRE_THROWS_WITH(F::add_layer_norm(r({2, 3}, 1), randn({2, 3}, DType::f32, 2), r({3}, 3), r({3}, 4), 1e-5),
                      says("add_layer_norm: branch f32(2, 3) must be like x f64(2, 3)"));
}
