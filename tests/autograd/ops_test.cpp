#include "autograd/ops.h"

#include "kernels/reduce/reduce.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("layout operations: gradients match finite differences") {
  REQUIRE_GRADIENTS([](const auto& t) { return F::reshape(t[0], {6, 2}); }, r({3, 4}, 1));
  REQUIRE_GRADIENTS([](const auto& t) { return F::permute(t[0], {2, 0, 1}); }, r({2, 3, 5}, 2));
  REQUIRE_GRADIENTS([](const auto& t) { return F::permute(t[0], {-2, 3, 0, 1}); }, r({2, 3, 4, 5}, 2));
  REQUIRE_GRADIENTS([](const auto& t) { return F::reshape(F::permute(t[0], {1, 2, 0}), {5, 6}); }, r({2, 3, 5}, 3));
  REQUIRE_GRADIENTS([](const auto& t) { return F::select(t[0], 1, 2); }, r({2, 3, 5}, 4));
  REQUIRE_GRADIENTS([](const auto& t) { return F::slice(t[0], 2, 1, 4); }, r({2, 3, 5}, 5));
  REQUIRE_GRADIENTS([](const auto& t) { return F::expand(t[0], {4, 3, 5}); }, r({3, 1}, 6));
  REQUIRE_GRADIENTS([](const auto& t) { return F::concat(t[0], t[1], 1); }, r({2, 1, 3}, 7), r({2, 4, 3}, 8));
}

TEST_CASE("permute shows the values in the order that was asked for") {
  const Array x = r({2, 3, 4, 5}, 9);
  REQUIRE(bitwise_equal(F::permute(x, {3, 1, 0, 2}).value(), x.permute({3, 1, 0, 2})));
  REQUIRE(bitwise_equal(F::permute(x, {1, 2, 3, 0}).value(), x.permute({1, 2, 3, 0})));
}

TEST_CASE("element-by-element operations: gradients match finite differences, shapes broadcast") {
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] + t[1]; }, r({2, 3, 5}, 10), r({3, 5}, 11));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] - t[1]; }, r({7}, 12), r({2, 7}, 13));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] * t[1]; }, r({2, 3, 1}, 14), r({3, 5}, 15));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] * t[0]; }, r({11}, 16));
  REQUIRE_GRADIENTS([](const auto& t) { return t[0] * -2.5; }, r({3, 3}, 17));
  REQUIRE_GRADIENTS([](const auto& t) { return F::gelu(t[0], kernels::Gelu::erf); }, r({3, 17}, 18));
  REQUIRE_GRADIENTS([](const auto& t) { return F::gelu(t[0], kernels::Gelu::tanh); }, r({3, 17}, 19));
  REQUIRE_GRADIENTS([](const auto& t) { return F::gelu(F::transpose(t[0], 0, 1), kernels::Gelu::erf) * t[1]; }, r({4, 3}, 19),
                    r({3, 4}, 20));
  const kernels::DropMask mask{0.4, 77, 3};
  REQUIRE_GRADIENTS([=](const auto& t) { return F::dropout(t[0], mask); }, r({5, 7}, 20));
  REQUIRE_GRADIENTS([=](const auto& t) { return F::drop_path(t[0], mask); }, r({9, 2, 3}, 21));
}

TEST_CASE("reductions: gradients match finite differences") {
  REQUIRE_GRADIENTS([](const auto& t) { return F::sum(t[0]); }, r({3, 4, 2}, 22));
  REQUIRE_GRADIENTS([](const auto& t) { return F::mean(t[0], 1); }, r({3, 4, 2}, 23));
}

TEST_CASE("products: gradients match finite differences") {
  REQUIRE_GRADIENTS([](const auto& t) { return F::matmul(t[0], t[1]); }, r({3, 4, 5}, 24), r({5, 2}, 25));
  REQUIRE_GRADIENTS([](const auto& t) { return F::matmul(t[0], t[1]); }, r({1, 4, 5}, 26), r({3, 5, 2}, 27));
  REQUIRE_GRADIENTS([](const auto& t) { return F::matmul(F::transpose(t[0], 0, 1), t[1]); }, r({5, 4}, 28), r({5, 2}, 29));
  REQUIRE_GRADIENTS([](const auto& t) { return F::linear(t[0], t[1], t[2]); }, r({2, 3, 5}, 30), r({4, 5}, 31), r({4}, 32));
  REQUIRE_GRADIENTS([](const auto& t) { return F::linear(t[0], t[1]); }, r({1, 5}, 33), r({4, 5}, 34));
}

TEST_CASE("a product of two dtypes has that of its first operand, and each gradient that of its operand") {
  const DType a_dtype = GENERATE(DType::f32, DType::bf16), b_dtype = a_dtype == DType::f32 ? DType::bf16 : DType::f32;
  const Tensor a = Tensor::leaf(randn({3, 4, 5}, a_dtype, 85)), b = Tensor::leaf(randn({5, 2}, b_dtype, 86));
  const Tensor a64 = Tensor::leaf(a.value().to(DType::f64)), b64 = Tensor::leaf(b.value().to(DType::f64));
  const Tensor y = F::matmul(a, b), expected = F::matmul(a64, b64);
  REQUIRE(y.dtype() == a_dtype);
  const double rounded = tolerance(DType::bf16, 12);  // the operand in f32 may be brought to bf16 for the product
  REQUIRE(relative_error(y.value(), expected.value()) <= rounded);
  const Array dy = randn(y.shape(), a_dtype, 87);
  y.backward(dy);
  expected.backward(dy.to(DType::f64));
  REQUIRE(relative_error(a.grad(), a64.grad()) <= rounded);
  REQUIRE(relative_error(b.grad(), b64.grad()) <= rounded);
}

TEST_CASE("a product of a batch with one matrix: its gradient is that of all rows at once") {
  REQUIRE_GRADIENTS([](const auto& t) { return F::matmul(t[0], t[1]); }, r({2, 3, 5, 4}, 40), r({4, 6}, 41));
  REQUIRE_GRADIENTS([](const auto& t) { return F::matmul(F::transpose(t[0], 1, 2), t[1]); }, r({2, 4, 5}, 42), r({4, 3}, 43));
}

TEST_CASE("a linear map of weights in bf16 gives its bias a gradient in f32") {
  for (const bool frozen : {false, true}) {
    const Array w = randn({4, 6}, DType::bf16, 44);
    const Tensor x = Tensor::leaf(randn({2, 3, 6}, DType::bf16, 45)), weight = frozen ? Tensor(w) : Tensor::leaf(w);
    const Tensor bias = Tensor::leaf(randn({4}, DType::f32, 46));
    const Array dy = randn({2, 3, 4}, DType::bf16, 47);
    F::linear(x, weight, bias).backward(dy);
    REQUIRE(bias.grad().dtype() == DType::f32);
    Array expected = Array::empty({1, 4});
    kernels::sum_to(Exec{}, dy.reshape({6, 4}), expected);
    REQUIRE(relative_error(bias.grad(), expected.reshape({4})) <= 1e-6);
  }
}

TEST_CASE("a weight that is trained in bf16 is refused before backward where its gradient would be in f32") {
  const Tensor ids = Array::from(std::vector<std::int32_t>{1, 0}, {2});
  const Array narrow = randn({3, 4}, DType::bf16, 1);
  REQUIRE_THROWS_WITH(F::embedding(Tensor::leaf(narrow), ids, DType::bf16),
                      says("embedding: a table that is trained for bf16 must be f32, got bf16"));
  REQUIRE(F::embedding(narrow, ids, DType::bf16).shape() == Shape{2, 4});
  const Tensor x = randn({2, 4}, DType::bf16, 2);
  REQUIRE_THROWS_WITH(F::linear_cross_entropy(x, Tensor::leaf(narrow), {.target = ids.value()}),
                      says("linear_cross_entropy: a weight that is trained for bf16 must be f32, got bf16"));
}

TEST_CASE("whole numbers can be put together and taken apart too") {
  const Tensor ids = random_ids({2, 3}, 99, 1);
  const Tensor both = F::concat(ids, ids, 1);
  REQUIRE(bitwise_equal(both.value().slice(1, 0, 3).as_contiguous(), ids.value()));
  REQUIRE(bitwise_equal(F::slice(both, 1, 3, 6).value().as_contiguous(), ids.value()));
  REQUIRE_THROWS_WITH(F::select(both, 1, -1), says("select: there is no -1 in dimension 1 of (2, 6)"));
}

TEST_CASE("a mean in bf16 is rounded once") {
  const Tensor x = Tensor::leaf(randn({37, 129}, DType::bf16, 48));
  const Array y = F::mean(x, 1).value(), exact = F::mean(F::cast(x.detach(), DType::f64), 1).value();
  REQUIRE(bitwise_equal(y, exact.to(DType::f32).to(DType::bf16)));
}

TEST_CASE("what is added in the master dtype is not rounded before, and has its gradient in it") {
  const Tensor x = Tensor::leaf(randn({300, 5}, DType::bf16, 49)), bias = Tensor::leaf(randn({5}, DType::f32, 50));
  const Array dy = randn({300, 5}, DType::bf16, 51);
  for (const int sign : {1, -1}) {
    bias.zero_grad();
    const Tensor y = sign > 0 ? x + bias : x - bias;
    const Array exact = (F::cast(x.detach(), DType::f64) + F::cast(bias.detach(), DType::f64) * sign).value();
    REQUIRE(bitwise_equal(y.value(), exact.to(DType::f32).to(DType::bf16)));
    y.backward(dy);
    REQUIRE(bias.grad().dtype() == DType::f32);
    REQUIRE(difference(bias.grad(), (F::sum(F::cast(Tensor(dy), DType::f64), 0) * sign).value()) <= 1e-6);
  }
}

TEST_CASE("what needs no gradient may change before backward, where the others' do not depend on it") {
  const Array fixed = randn({3, 3}, DType::f64, 49);
  const auto gradient = [&](const auto& f, bool changed) {
    const Tensor w = Tensor::leaf(randn({3, 3}, DType::f64, 50));
    const Tensor y = f(w);
    if (changed) fill(w.value(), 7);
    y.backward(fixed);
    return w.grad();
  };
  const auto same = [&](const auto& f) { return bitwise_equal(gradient(f, true), gradient(f, false)); };
  REQUIRE(same([&](const Tensor& w) { return w * Tensor(fixed); }));
  REQUIRE(same([&](const Tensor& w) { return w / Tensor(fixed); }));
  REQUIRE(same([&](const Tensor& w) { return F::matmul(w, Tensor(fixed)); }));
  REQUIRE(same([&](const Tensor& w) { return F::linear(w, Tensor(fixed)); }));
  REQUIRE_THROWS_WITH(gradient([&](const Tensor& w) { return w * w; }, true), says("was changed in place after forward"));
}

TEST_CASE("a linear map that ends in GELU: gradients match finite differences, bits those of the two operations") {
  for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
    REQUIRE_GRADIENTS([=](const auto& t) { return F::gelu(F::linear_gelu(t[0], t[1], t[2], kind)); }, r({2, 3, 5}, 63),
                      r({4, 5}, 64), r({4}, 65));
    REQUIRE_GRADIENTS(
        [=](const auto& t) { return F::gelu(F::linear_gelu(t[0] * 1.5, t[1], {}, kind)) + F::linear(t[0], t[1]); },
        r({3, 5}, 66), r({4, 5}, 67));
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const Array x = randn({2, 9, 5}, dtype, 68), weight = randn({6, 5}, master_dtype(dtype), 69);
      const Array bias = randn({6}, master_dtype(dtype), 70), dy = randn({2, 9, 6}, dtype, 71);
      const auto results = [&](const auto& f) {
        const Tensor input = Tensor::leaf(x), w = Tensor::leaf(weight), b = Tensor::leaf(bias);
        const Tensor y = f(input, w, b);
        y.backward(dy);
        return std::vector<Array>{y.value(), input.grad(), w.grad(), b.grad()};
      };
      const auto got = results([=](const auto&... t) { return F::gelu(F::linear_gelu(t..., kind)); });
      const auto expected = results([=](const auto&... t) { return F::gelu(F::linear(t...), kind); });
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(name_of(dtype), i);
        REQUIRE(bitwise_equal(got[i], expected[i]));
      }
      REQUIRE(bitwise_equal(F::linear_gelu(x, weight, bias, kind).y, expected[0]));
      REQUIRE(bitwise_equal(F::gelu(F::linear_gelu(x, weight, bias, kind)).value(), expected[0]));
    }
  }
}

TEST_CASE("a linear map of GELU: gradients match finite differences, bits those of the two operations") {
  for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
    // An MLP, and z read by two operations.
    REQUIRE_GRADIENTS([=](const auto& t) { return F::linear(F::linear_gelu(t[0], t[1], t[2], kind), t[3], t[4]); },
                      r({2, 3, 5}, 72), r({6, 5}, 73), r({6}, 74), r({4, 6}, 75), r({4}, 76));
    REQUIRE_GRADIENTS(
        [=](const auto& t) {
          const F::Activation x = F::activate(t[0], kind);
          return F::linear(x, t[1]) + F::gelu(x) + F::linear(x, t[1]);
        },
        r({3, 5}, 77), r({5, 5}, 78));
    REQUIRE_GRADIENTS([=](const auto& t) { return F::linear(F::activate(F::transpose(t[0], 0, 1), kind), t[1]); }, r({5, 3}, 83),
                      r({4, 5}, 84));
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const Array x = randn({2, 9, 5}, dtype, 79), weight = randn({6, 5}, master_dtype(dtype), 80);
      const Array bias = randn({6}, master_dtype(dtype), 81), dy = randn({2, 9, 6}, dtype, 82);
      for (const bool constant : {false, true}) {
        const auto results = [&](const auto& f) {
          const Tensor z = constant ? Tensor(x) : Tensor::leaf(x), w = Tensor::leaf(weight), b = Tensor::leaf(bias);
          const Tensor y = f(z, w, b);
          y.backward(dy);
          return std::vector<Array>{y.value(), w.grad(), b.grad(), constant ? y.value() : z.grad()};
        };
        const auto got = results([=](const auto& z, const auto&... t) { return F::linear(F::activate(z, kind), t...); });
        const auto expected = results([=](const auto& z, const auto&... t) { return F::linear(F::gelu(z, kind), t...); });
        for (std::size_t i = 0; i < expected.size(); ++i) {
          CAPTURE(name_of(dtype), constant, i);
          REQUIRE(bitwise_equal(got[i], expected[i]));
        }
      }
    }
  }
}

TEST_CASE("transformer operations: gradients match finite differences") {
  REQUIRE_GRADIENTS([](const auto& t) { return F::layer_norm(t[0], t[1], t[2], 1e-5); }, r({2, 3, 7}, 35), r({7}, 36), r({7}, 37));
  for (const bool causal : {false, true}) {
    REQUIRE_GRADIENTS([=](const auto& t) { return F::scaled_dot_product_attention(t[0], t[1], t[2], causal); },
                      r({2, 2, 7, 3}, 38), r({2, 2, 7, 3}, 39), r({2, 2, 7, 3}, 40));
    REQUIRE_GRADIENTS([=](const auto& t) { return F::multi_head_attention(t[0], 2, causal); }, r({2, 5, 18}, 41));
  }
  const Array ids = Array::from(std::vector<std::int32_t>{3, 0, 3, 2, 4, 1}, {2, 3});
  REQUIRE_GRADIENTS([=](const auto& t) { return F::embedding(t[0], ids, DType::f64); }, r({5, 4}, 42));
}

TEST_CASE("a residual connection around a layer norm adds both gradients") {
  REQUIRE_GRADIENTS([](const auto& t) {
    const Tensor x = t[0] * 1.5;
    return x + F::layer_norm(x, t[1], t[2], 1e-5);
  }, r({3, 6}, 43), r({6}, 44), r({6}, 45));
  REQUIRE_GRADIENTS([](const auto& t) {
    const Tensor x = t[0] * 1.5;
    return F::linear(x, t[1]) + F::linear(x, t[2]) + x;
  }, r({3, 4}, 46), r({4, 4}, 47), r({4, 4}, 48));
}

TEST_CASE("a residual sum with its layer norm: gradients of both results, through both inputs") {
  REQUIRE_GRADIENTS([](const auto& t) {
    const F::ResidualNorm norm = F::add_layer_norm(t[0] * 1.5, t[1], t[2], t[3], 1e-5);
    return norm.sum * t[4] + norm.y;
  }, r({2, 3, 7}, 49), r({2, 3, 7}, 50), r({7}, 51), r({7}, 52), r({2, 3, 7}, 53));
  REQUIRE_GRADIENTS([](const auto& t) { return F::add_layer_norm(t[0], t[1], t[2], t[3], 1e-5).y; },
                    r({3, 6}, 54), r({3, 6}, 55), r({6}, 56), r({6}, 57));
}

TEST_CASE("a residual sum with its layer norm has the bits of the two operations, gradients too") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const DType master = master_dtype(dtype);
  const Array x = randn({7, 5, 3}, dtype, 58).transpose(0, 1), branch = randn({5, 7, 3}, dtype, 59);
  const Array weight = randn({3}, master, 60), bias = randn({3}, master, 61), dy = randn({5, 7, 3}, dtype, 62);
  const auto results = [&](bool fused) {
    const std::vector<Tensor> leaves{Tensor::leaf(x), Tensor::leaf(branch), Tensor::leaf(weight), Tensor::leaf(bias)};
    F::ResidualNorm norm;
    if (fused) {
      norm = F::add_layer_norm(leaves[0], leaves[1], leaves[2], leaves[3], 1e-5);
    } else {
      norm.sum = leaves[0] + leaves[1];
      norm.y = F::layer_norm(norm.sum, leaves[2], leaves[3], 1e-5);
    }
    (norm.sum * 0.5 + norm.y).backward(dy);
    std::vector<Array> arrays{norm.sum.value(), norm.y.value()};
    for (const Tensor& leaf : leaves) arrays.push_back(leaf.grad());
    return arrays;
  };
  const auto got = results(true), expected = results(false);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(name_of(dtype), i);
    REQUIRE(bitwise_equal(got[i], expected[i]));
  }
}

TEST_CASE("cast gives the gradient the dtype of its input") {
  for (const auto& [from, to] : {std::pair(DType::f32, DType::bf16), std::pair(DType::bf16, DType::f64)}) {
    const Tensor x = Tensor::leaf(randn({2, 3}, from, 88)), y = F::cast(x, to);
    REQUIRE(y.dtype() == to);
    const Array dy = randn({2, 3}, to, 89);
    y.backward(dy);
    REQUIRE(bitwise_equal(x.grad(), dy.to(from)));
  }
}

TEST_CASE("errors name the operation and the shapes") {
  REQUIRE_THROWS_WITH(F::linear(r({2, 3}, 1), r({4, 5}, 2)), says("linear") && says("(2, 3)") && says("(4, 5)"));
  REQUIRE_THROWS_WITH(F::add(r({2, 3}, 1), r({4}, 2)), says("add") && says("(2, 3)") && says("(4)"));
  REQUIRE_THROWS_WITH(F::matmul(r({2, 3}, 1), r({4, 5}, 2)), says("matmul"));
  REQUIRE_THROWS_WITH(F::add(randn({2}, DType::f32, 1), r({2}, 2)), says("cast"));
  for (const auto& op : {F::add, F::sub, F::mul}) {
    REQUIRE_THROWS_WITH(op(randn({2, 3}, DType::f32, 1), {}), says("undefined"));
    REQUIRE_THROWS_WITH(op({}, randn({2, 3}, DType::f32, 1)), says("undefined"));
  }
  REQUIRE_THROWS_WITH(F::dropout({}, {0.5, 1, 2}), says("dropout") && says("undefined"));
  REQUIRE_THROWS_WITH(F::concat(r({2, 3}, 1), r({2, 4}, 2), 0), says("concat") && says("(2, 3)") && says("(2, 4)"));
  REQUIRE_THROWS_WITH(F::concat(r({2, 3}, 1), randn({2, 3}, DType::f32, 2), 0), says("f64(2, 3) and f32(2, 3)"));
  REQUIRE_THROWS_WITH(F::concat(r({2, 3}, 1), r({2}, 2), 0), says("concat"));
  REQUIRE_THROWS_WITH(F::multi_head_attention(r({2, 5, 18}, 1), 4, true), says("(2, 5, 18)") && says("4 heads"));
  REQUIRE_THROWS_WITH(F::multi_head_attention(r({5, 18}, 1), 2, true), says("multi_head_attention: qkv (5, 18)"));
  REQUIRE_THROWS_WITH(F::multi_head_attention(r({2, 5, 18}, 1), 0, true), says("0 heads"));
  REQUIRE_THROWS_WITH(F::scaled_dot_product_attention(r({1, 2, 3, 4}, 1), r({1, 2, 5, 4}, 2), r({1, 2, 5, 4}, 3), true),
                      says("(1, 2, 3, 4)") && says("(1, 2, 5, 4)"));
  REQUIRE_THROWS_WITH(F::linear_gelu(r({2, 3}, 1), r({4, 5}, 2), {}, kernels::Gelu::erf),
                      says("(2, 3)") && says("(4, 5)"));
  REQUIRE_THROWS_WITH(F::add_layer_norm(r({2, 3}, 1), r({3}, 2), r({3}, 3), r({3}, 4), 1e-5),
                      says("add_layer_norm") && says("(2, 3)") && says("(3)"));
}
