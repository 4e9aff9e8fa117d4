// Cross-entropy, by itself and fused with the head before it.
#include "autograd/ops.h"
#include "core/allocator.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("losses: gradients match finite differences, and the fused head equals its two parts") {
  const Array target = Array::from(std::vector<std::int32_t>{1, -1, 4, 0, 2, 6}, {6});
  const Array other = random_ids({6}, 7, 49);
  const Array weight = Array::from(std::vector<float>{1, 0.5f, 0.25f, 0.75f, 0, 0.125f}, {6});
  for (const F::Targets& targets : {F::Targets{target, {}, {}, 0}, F::Targets{target, {}, {}, 0.1}, F::Targets{target, other, weight, 0.1}}) {
    REQUIRE_GRADIENTS([&](const auto& t) { return F::cross_entropy(t[0], targets); }, r({6, 7}, 50));
    REQUIRE_GRADIENTS([&](const auto& t) { return F::linear_cross_entropy(t[0], t[1], targets); }, r({6, 5}, 51), r({7, 5}, 52));
    REQUIRE_GRADIENTS([&](const auto& t) { return F::linear_cross_entropy(t[0], t[1], targets) * 3.0; }, r({6, 5}, 53), r({7, 5}, 54));
    // Whoever knows how many rows count need not have them counted.
    F::Targets told = targets;
    told.counted = 5;
    const Tensor logits = r({6, 7}, 57);
    REQUIRE(bitwise_equal(F::cross_entropy(logits, told).value(), F::cross_entropy(logits, targets).value()));
    told.counted = 2;
    REQUIRE(relative_error(F::cross_entropy(logits, told).value(), F::cross_entropy(logits * 1.0, targets).value()) > 1);
    const Tensor x = r({6, 5}, 55), w = r({7, 5}, 56);
    REQUIRE(relative_error(F::linear_cross_entropy(x, w, targets).value(), F::cross_entropy(F::linear(x, w), targets).value()) <= 1e-13);
  }
}

TEST_CASE("losses name what is wrong with their targets") {
  const auto ids = [](std::vector<std::int32_t> values) { return Array::from(values, {static_cast<Dim>(values.size())}); };
  const Array good = ids({1, -1, 4}), weight = Array::full({3}, 0.5);
  const Tensor logits = r({3, 5}, 1), x = r({3, 2}, 2), w = r({5, 2}, 3);
  const auto refuses = [&](const F::Targets& targets, const std::string& why) {
    CAPTURE(why);
    REQUIRE_THROWS_WITH(F::cross_entropy(logits, targets), says("cross_entropy: ") && says(why));
    REQUIRE_THROWS_WITH(F::linear_cross_entropy(x, w, targets), says("cross_entropy: ") && says(why));
  };
  refuses({{}}, "needs targets i32(3)");
  refuses({weight}, "targets must be i32(3), got f32(3)");
  refuses({ids({1, 2})}, "targets must be i32(3), got i32(2)");
  refuses({good, weight}, "second targets must be i32(3), got f32(3)");
  refuses({good, ids({0, 1, 2, 3})}, "second targets must be i32(3), got i32(4)");
  refuses({good, good, good}, "weights must be f32(3), got i32(3)");
  refuses({good, {}, weight}, "give the other target too");
  refuses({ids({1, 5, 0})}, "target 5 of row 1 is outside [-1, 5)");
  refuses({good, ids({-1, 0, 0})}, "other target -1 of row 0 is outside [0, 5)");
  refuses({good, ids({0, -2, 0})}, "other target -2 of row 1 is outside [-1, 5)");
  REQUIRE_NOTHROW(F::cross_entropy(logits, {good, good}));  // of a row that is left out, nothing is asked
  REQUIRE_THROWS_WITH(F::linear_cross_entropy(x, randn({5, 2}, DType::f32, 3), {.target = good}),
                      "linear_cross_entropy: x is f64 and weight f32; cast one of them");
  // The row is that of the batch, not that of a chunk of it.
  const Array many = Array::zeros({300}, DType::i32);
  many.data<std::int32_t>()[299] = 40000;
  REQUIRE_THROWS_WITH(F::linear_cross_entropy(randn({300, 1}, DType::f32, 4), randn({40000, 1}, DType::f32, 5), {.target = many}),
                      says("target 40000 of row 299"));
}

TEST_CASE("the fused head works in chunks: a long batch with a large vocabulary") {
  const Dim rows = 300, vocabulary = 40000, width = 3;  // more logits than are held at a time
  const Array target = random_ids({rows}, 40000, 57), other = random_ids({rows}, 40000, 60);
  target.data<std::int32_t>()[250] = -1;  // in a later chunk
  const Array weight = randn({rows}, DType::f32, 61);
  const DType dtype = GENERATE(DType::f32, DType::bf16);  // of x; weights are in f32
  const Tensor x = Tensor::leaf(randn({rows, width}, dtype, 58)), w = Tensor::leaf(randn({vocabulary, width}, DType::f32, 59));
  const Tensor whole_x = Tensor::leaf(x.value().to(DType::f32)), whole_w = Tensor::leaf(w.value());
  const F::Targets targets{.target = target, .other = other, .weight = weight, .smoothing = 0.1};
  allocator().reset_peak();
  const std::size_t before = allocator().stats().current;
  const Tensor fused = F::linear_cross_entropy(x, w, targets);
  // 16 MiB of logits and at most half as much of their gradient, in blocks that may be an eighth larger; all would be 46 MiB.
  REQUIRE(allocator().stats().peak - before <= (std::size_t{28} << 20));
  const Tensor whole = F::cross_entropy(F::linear(whole_x, whole_w), targets);
  fused.backward();
  whole.backward();
  REQUIRE(relative_error(fused.value(), whole.value()) <= (dtype == DType::f32 ? 1e-6 : 1e-4));
  const double tolerance = dtype == DType::f32 ? 1e-5 : 5e-3;
  REQUIRE(relative_error(x.grad(), whole_x.grad()) <= tolerance);
  REQUIRE(relative_error(w.grad(), whole_w.grad()) <= tolerance);
}
