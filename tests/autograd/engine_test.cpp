#include "autograd/checkpoint.h"
#include "autograd/function.h"
#include "core/allocator.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct Argmax : NoBackward<Argmax> {
  static constexpr const char* name = "argmax";
  static Array forward(Context&, const Array& x) { return x; }
};

struct Forgetful : Function<Forgetful> {
  static constexpr const char* name = "forgetful";
  static Array forward(Context&, const Array& x) { return x.clone(); }
  static std::array<Array, 1> backward(Context&, const Array&) { return {}; }
};

// Its gradient is the one it is told.
struct Mistaken : Function<Mistaken> {
  static constexpr const char* name = "mistaken";
  static Array forward(Context& ctx, const Array& x, const Array& gradient_to_be) {
    ctx.keep(gradient_to_be);
    return x.clone();
  }
  static std::array<Array, 2> backward(Context& ctx, const Array&) { return {ctx.kept<Array>(), {}}; }
};

// Asks for more than forward left.
struct Greedy : Function<Greedy> {
  static constexpr const char* name = "greedy";
  static Array forward(Context& ctx, const Array& x, const bool& keeps) {
    if (keeps) ctx.keep(1.0);
    ctx.save(x);
    return x.clone();
  }
  static std::array<Array, 1> backward(Context& ctx, const Array&) {
    return {ctx.kept<double>() > 0 ? ctx.saved(1) : ctx.saved(0)};
  }
};

}  // namespace

TEST_CASE("a chain of 100 000 additions runs backward and is freed without overflowing the stack") {
  const Tensor x = Tensor::leaf(Array::full({1}, 1.0, DType::f64));
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + x;
    y.backward();
  }
  REQUIRE(x.grad().item() == 100001.0);
  Tensor unused = x;
  for (int i = 0; i < 100000; ++i) unused = unused + x;
}

TEST_CASE("gradients accumulate over backwards until zero_grad") {
  const Tensor x = Tensor::leaf(randn({3}, DType::f64, 1)), w = Tensor::leaf(randn({2, 3}, DType::f64, 2));
  const auto run = [&] { F::sum(F::linear(F::reshape(x, {1, 3}), w)).backward(); };
  run();
  const Array once = w.grad().clone();
  run();
  REQUIRE(relative_error(w.grad(), F::scale(once, 2.0).value()) <= 1e-15);
  w.zero_grad();
  REQUIRE_FALSE(w.grad().defined());
}

TEST_CASE("what an operation adds to in place accumulates over backwards, and over what was there") {
  const Tensor x = Tensor::leaf(randn({4, 3}, DType::f64, 20)), w = Tensor::leaf(randn({3, 3}, DType::f64, 21));
  const Tensor ones = Array::full({3}, 1.0, DType::f64), ids = Array::from(std::vector<std::int32_t>{2, 0, 2}, {3});
  const std::vector<std::function<Tensor()>> operations{
      [&] { return F::linear(x, w); }, [&] { return F::layer_norm(x, ones, ones, 1e-5); },
      [&] { return F::embedding(x, ids, DType::f64); }, [&] { return x + F::layer_norm(x, ones, ones, 1e-5); }};
  for (std::size_t i = 0; i < operations.size(); ++i) {
    CAPTURE(i);
    const Array dy = randn(operations[i]().shape(), DType::f64, 22), old = randn(x.shape(), DType::f64, 23);
    const auto run = [&] { operations[i]().backward(dy); };
    x.zero_grad();
    run();
    const Array once = x.grad().clone();
    run();
    REQUIRE(relative_error(x.grad(), F::scale(once, 2).value()) <= 1e-14);
    x.set_grad(old.clone());
    run();
    REQUIRE(relative_error(x.grad(), F::add(once, old).value()) <= 1e-14);
    // Memory that somebody else holds is left alone.
    x.set_grad(old);
    run();
    REQUIRE(relative_error(x.grad(), F::add(once, old).value()) <= 1e-14);
    REQUIRE(bitwise_equal(old, randn(x.shape(), DType::f64, 23)));
  }
}

TEST_CASE("a gradient that is set in another dtype becomes one of its value's, to which operations add") {
  const Tensor x = Tensor::leaf(randn({4, 3}, DType::f32, 20)), w = Tensor::leaf(randn({3, 3}, DType::f32, 21));
  const Array old = randn(w.shape(), DType::bf16, 22);
  const std::vector<std::function<Tensor()>> operations{[&] { return F::linear(x, w); }, [&] { return w * 2.0; }};
  for (std::size_t i = 0; i < operations.size(); ++i) {
    CAPTURE(i);
    w.zero_grad();
    F::sum(operations[i]()).backward();
    const Array once = w.grad().clone();
    w.set_grad(old);
    REQUIRE(w.grad().dtype() == DType::f32);
    F::sum(operations[i]()).backward();
    REQUIRE(w.grad().dtype() == DType::f32);
    REQUIRE(relative_error(w.grad(), F::add(once, old.to(DType::f32)).value()) <= 1e-6);
  }
}

TEST_CASE("a gradient that is set has its value's shape") {
  const Tensor w = Tensor::leaf(randn({2, 3}, DType::f32, 2));
  CHECK_THROWS_WITH(w.set_grad(Array::zeros({3, 2})), "set_grad: a gradient (3, 2) on cpu must be (2, 3) on cpu like the value");
}

TEST_CASE("the gradient handed to a user does not change under him") {
  const Tensor w = Tensor::leaf(randn({2, 3}, DType::f64, 2));
  const Tensor x = randn({4, 3}, DType::f64, 3);
  F::sum(F::linear(x, w)).backward();
  const Array held = w.grad();
  const Array before = held.clone();
  F::sum(F::linear(x, w)).backward();
  REQUIRE(bitwise_equal(held, before));
}

TEST_CASE("a leaf is the only owner of its gradient") {
  const Array cotangent = randn({2, 3}, DType::f64, 1);
  const Tensor a = Tensor::leaf(randn({2, 3}, DType::f64, 2)), b = Tensor::leaf(randn({2, 3}, DType::f64, 3));
  const Tensor ones = Array::full({3}, 1.0, DType::f64);
  const std::vector<Tensor> sums{a + b, F::add_layer_norm(a, b, ones, ones, 1e-5).sum,
                                 F::reshape(a, {6, 1}) + F::reshape(b, {6, 1}),
                                 checkpoint([&](const Tensor& x) { return x + b; }, a)};
  for (const Tensor& sum : sums) {
    for (const Tensor* leaf : {&a, &b}) leaf->zero_grad();
    sum.backward(cotangent.reshape(sum.shape()));
    for (const Tensor* leaf : {&a, &b}) {
      REQUIRE(bitwise_equal(leaf->grad(), cotangent));
      REQUIRE(leaf->grad().owns_alone());
    }
  }
  for (const Tensor* leaf : {&a, &b}) leaf->zero_grad();
  F::concat(F::transpose(a, 0, 1), F::transpose(b, 0, 1), 0).backward(randn({6, 2}, DType::f64, 4));
  for (const Tensor* leaf : {&a, &b}) REQUIRE(leaf->grad().owns_alone());
  // Nor does a small one keep a large one's memory.
  const Tensor large = Tensor::leaf(randn({9, 3}, DType::f64, 5)), small = Tensor::leaf(randn({1, 3}, DType::f64, 6));
  F::concat(large, small, 0).backward(randn({10, 3}, DType::f64, 7));
  REQUIRE(small.grad().storage()->bytes() < large.grad().storage()->bytes() / 2);
}

TEST_CASE("frozen inputs get no gradient and change none of the others") {
  const Array x = randn({4, 3}, DType::f64, 4), w = randn({2, 3}, DType::f64, 5), b = randn({2}, DType::f64, 6);
  std::array<Array, 3> all;
  for (unsigned frozen = 0; frozen < 8; ++frozen) {
    std::array<Tensor, 3> t;
    const std::array<Array, 3> values{x, w, b};
    for (std::size_t i = 0; i < 3; ++i) t[i] = frozen >> i & 1 ? Tensor(values[i]) : Tensor::leaf(values[i]);
    const Tensor y = F::linear(t[0], t[1], t[2]);
    REQUIRE(y.requires_grad() == (frozen != 7));
    if (frozen != 7) y.backward(randn({4, 2}, DType::f64, 7));
    for (std::size_t i = 0; i < 3; ++i) {
      if (frozen == 0) all[i] = t[i].grad();
      else if (frozen >> i & 1) REQUIRE_FALSE(t[i].grad().defined());
      else REQUIRE(bitwise_equal(t[i].grad(), all[i]));
    }
  }
}

TEST_CASE("a bias is trained where nothing else is") {
  const Array x = randn({3, 4}, DType::f64, 1), weight = randn({5, 4}, DType::f64, 2);
  const Tensor bias = Tensor::leaf(randn({5}, DType::f64, 3)), before_gelu = Tensor::leaf(bias.value().clone());
  F::sum(F::linear(x, weight, bias)).backward();
  REQUIRE(all_equal(bias.grad(), 3));
  F::sum(F::gelu(F::linear_gelu(x, weight, before_gelu, kernels::Gelu::erf))).backward();
  REQUIRE(before_gelu.grad().defined());
}

TEST_CASE("nothing is recorded without need") {
  {
    const NoGrad outer;
    { const NoGrad inner; }
    REQUIRE_FALSE(grad_enabled());
  }
  const Tensor x = Tensor::leaf(randn({3}, DType::f64, 8));
  {
    const NoGrad no_grad;
    REQUIRE_FALSE((x + x).requires_grad());
  }
  REQUIRE((x + x).requires_grad());
  REQUIRE_FALSE((x.detach() + x.detach()).requires_grad());
}

TEST_CASE("a second backward, a changed value, a missing gradient and a missing backward are errors") {
  const Tensor x = Tensor::leaf(randn({3}, DType::f64, 9));
  const Tensor y = F::sum(x * x);
  y.backward();
  REQUIRE_THROWS_WITH(y.backward(), says("already run"));

  const Tensor z = F::sum(x * x);
  copy(randn({3}, DType::f64, 10), x.value());
  REQUIRE_THROWS_WITH(z.backward(), says("mul") && says("changed in place"));

  REQUIRE_THROWS_WITH(Forgetful::apply(x).backward(randn({3}, DType::f64, 1)), says("forgetful") && says("no gradient"));
  REQUIRE_THROWS_WITH(Greedy::apply(x, true).backward(x.value()), "greedy: backward asks for saved array 1, but forward saved 1");
  REQUIRE_THROWS_WITH(Greedy::apply(x, false).backward(x.value()), "greedy: backward asks for a value that forward did not keep");
  REQUIRE_THROWS_WITH(Argmax::apply(x), says("argmax") && says("detach"));
  REQUIRE_NOTHROW(Argmax::apply(x.detach()));
  for (const auto& [drop, name] : {std::pair(&F::dropout, "dropout"), std::pair(&F::drop_path, "drop_path")}) {
    const Tensor dropped = drop(x, {0.5, 1, 2});
    dropped.backward(x.value());
    REQUIRE_THROWS_WITH(dropped.backward(x.value()), says(name) && says("already run"));
  }
  REQUIRE_THROWS_WITH((x * x).backward(), says("one element"));
  REQUIRE_THROWS_WITH((x * x).backward(randn({2}, DType::f64, 1)), says("cotangent f64(2) on cpu must match the tensor's f64(3) on cpu"));
  REQUIRE_THROWS_WITH((x * x).backward(randn({3}, DType::f32, 1)), says("cotangent f32(3) on cpu must match the tensor's f64(3) on cpu"));
  REQUIRE_THROWS_WITH(F::sum(x).backward(Array()), says("the cotangent is undefined"));
  REQUIRE_THROWS_WITH(Tensor::leaf(Array::zeros({2}, DType::i32)), says("only floating values have gradients, got i32"));
  REQUIRE_THROWS_WITH(x.detach().backward(randn({3}, DType::f64, 1)), says("requires a gradient"));
}

TEST_CASE("a gradient of another shape or dtype than the input's is refused, at a leaf or within the graph") {
  const Tensor x = Tensor::leaf(randn({3}, DType::f32, 1));
  for (const Array& wrong : {randn({1}, DType::f32, 2), randn({3, 1}, DType::f32, 3), randn({3}, DType::bf16, 4)}) {
    for (const Tensor& input : {x, x * 2}) {
      REQUIRE_THROWS_WITH(Mistaken::apply(input, Tensor(wrong)).backward(x.value()),
                          concat("mistaken: backward returned a gradient ", wrong.dtype(), wrong.shape(),
                                 " for input 0, which is f32(3)"));
    }
  }
  Mistaken::apply(x * 2, x.detach()).backward(x.value());
  REQUIRE(bitwise_equal(x.grad(), (x.detach() * 2).value()));
}

TEST_CASE("checkpointing passes over what needs no gradient, and what body does not use gets zeros") {
  const Tensor ids = Array::from(std::vector<std::int32_t>{2, 0}, {2});
  const Tensor table = Tensor::leaf(randn({3, 4}, DType::f32, 13));
  const Array dy = randn({2, 4}, DType::f32, 14);
  for (const Tensor& weight : {table.detach(), table}) {
    checkpoint([&](const Tensor& x) { return F::embedding(weight, x, DType::f32); }, ids).backward(dy);
    REQUIRE(weight.grad().defined() == weight.requires_grad());
  }
  const Tensor x = Tensor::leaf(randn({2, 4}, DType::f32, 15)), other = Tensor::leaf(randn({2, 4}, DType::f32, 16));
  for (const Tensor& result : {other.detach(), other}) {
    checkpoint([&](const Tensor&) { return result * 2; }, x).backward(dy);
    REQUIRE(bitwise_equal(x.grad(), Array::zeros({2, 4})));
    REQUIRE(result.grad().defined() == result.requires_grad());
  }
}

TEST_CASE("a backward through a checkpoint whose body failed may be tried again") {
  const Tensor x = Tensor::leaf(randn({2, 4}, DType::f32, 17));
  bool fails = false;
  const Tensor y = checkpoint([&](const Tensor& input) { return fails ? throw Error("out of memory") : input * 3; }, x);
  const Array dy = randn({2, 4}, DType::f32, 18);
  fails = true;
  REQUIRE_THROWS_WITH(y.backward(dy), "out of memory");
  fails = false;
  y.backward(dy);
  REQUIRE(bitwise_equal(x.grad(), (Tensor(dy) * 3).value()));
  REQUIRE_THROWS_WITH(y.backward(dy), says("already run"));
}

TEST_CASE("checkpointing gives the same bits and keeps less") {
  const Array w0 = randn({16, 16}, DType::f32, 11), x0 = randn({8, 16}, DType::f32, 12);
  const auto run = [&](bool save_memory) {
    const Tensor x = Tensor::leaf(x0), w = Tensor::leaf(w0);
    const auto body = [&](const Tensor& input) {
      Tensor h = input;
      for (int i = 0; i < 6; ++i) h = F::gelu(F::linear(h, w));
      return F::dropout(h, {0.3, 5, 6});
    };
    const Tensor y = save_memory ? checkpoint(body, x) : body(x);
    const std::size_t held = allocator().stats().current;
    F::sum(y).backward();
    return std::tuple(x.grad(), w.grad(), held);
  };
  const auto [dx, dw, held] = run(false);
  const auto [dx2, dw2, held2] = run(true);
  REQUIRE(bitwise_equal(dx, dx2));
  REQUIRE(bitwise_equal(dw, dw2));
  REQUIRE(held2 < held);
}
