#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::CrossEntropyTargets;

namespace {

struct Result {
  Array losses, dlogits;
};

Result run(const Array& logits, const CrossEntropyTargets& targets, double scale, DType gradient_dtype) {
  Result result{Array::full({logits.size(0)}, -1, master_dtype(logits.dtype())),
                Array::full(logits.shape(), -1, gradient_dtype)};
  kernels::cross_entropy(logits.exec(), logits, targets, scale, result.losses, result.dlogits);
  return result;
}

Array losses_of(const Array& logits, const CrossEntropyTargets& targets) {
  Array losses = Array::empty({logits.size(0)}, master_dtype(logits.dtype()));
  kernels::cross_entropy(logits.exec(), logits, targets, 1, losses, {});
  return losses;
}

// Σ_v q_v (log Σ exp(x) - x_v) in f64, its gradient softmax - q.
Result reference(const Array& logits, const Array& target, const Array& other, const Array& weight, double smoothing,
                 double scale) {
  const Dim rows = logits.size(0), classes = logits.size(1);
  const auto x = logits.to_vector<double>(), t = target.to_vector<double>();
  std::vector<double> losses(t.size()), gradient(x.size());
  for (std::size_t r = 0; r < t.size(); ++r) {
    if (t[r] < 0) continue;
    const auto n = static_cast<std::size_t>(classes), base = r * n;
    const double w = weight.defined() ? weight.to_vector<double>()[r] : 1;
    const double o = other.defined() ? other.to_vector<double>()[r] : t[r];
    double max = -INFINITY, sum = 0;
    for (std::size_t c = 0; c < n; ++c) max = std::max(max, x[base + c]);
    for (std::size_t c = 0; c < n; ++c) sum += std::exp(x[base + c] - max);
    for (std::size_t c = 0; c < n; ++c) {
      const auto id = static_cast<double>(c);
      const double q = (1 - smoothing) * (w * (id == t[r]) + (1 - w) * (id == o)) +
                       smoothing / static_cast<double>(classes);
      if (q != 0) losses[r] += q * (max + std::log(sum) - x[base + c]);
      gradient[base + c] = scale * (std::exp(x[base + c] - max) / sum - q);
    }
  }
  return {Array::from(losses, {rows}), Array::from(gradient, logits.shape())};
}

Array times(const Array& x, double factor) {
  auto values = x.to_vector<double>();
  for (double& v : values) v *= factor;
  return Array::from(values, x.shape()).to(x.dtype());
}

}  // namespace

TEST_CASE("cross entropy matches its definition", "[cross_entropy]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{1, 2}, Shape{5, 3}, Shape{33, 10}, Shape{7, 2049}, Shape{3, 50257});
  const double smoothing = GENERATE(0.0, 0.1);
  const bool mixed = GENERATE(false, true);
  const DType gradient_dtype = GENERATE_COPY(filter([=](DType g) { return g == dtype || (dtype == DType::f32 && g == DType::bf16); },
                                                    values({DType::f64, DType::f32, DType::bf16})));
  CAPTURE(kernels::isa_name(), name_of(dtype), shape, smoothing, mixed, name_of(gradient_dtype));
  const auto classes = static_cast<std::uint32_t>(shape[1]);
  const Array logits = times(randn(shape, dtype, 1), 3), target = random_ids({shape[0]}, classes, 2);
  if (shape[0] > 2) target.data<std::int32_t>()[1] = -1;
  Array other, weight;
  CrossEntropyTargets targets{.target = target, .smoothing = smoothing};
  if (mixed) {
    other = random_ids({shape[0]}, classes, 3);
    weight = Array::full({shape[0]}, 0.7);
    weight.data<float>()[0] = 1;
    if (shape[0] > 2) weight.data<float>()[2] = 0;
    if (shape[0] > 3) other.data<std::int32_t>()[3] = target.data<std::int32_t>()[3];
    targets.other = other;
    targets.weight = weight;
  }
  const double scale = 0.125;
  const Result expected = reference(logits, target, other, weight, smoothing, scale);
  const Result result = run(logits, targets, scale, gradient_dtype);
  CHECK(relative_error(result.losses, expected.losses) <= tolerance(master_dtype(dtype), 4));
  const double tol = gradient_dtype == DType::f64 ? 1e-13 : tolerance(gradient_dtype, 4);
  CHECK(relative_error(result.dlogits, expected.dlogits) <= tol);
  CHECK(bitwise_equal(losses_of(logits, targets), result.losses));
  if (gradient_dtype == dtype) {
    const Array losses = Array::empty({shape[0]}, master_dtype(dtype));
    kernels::cross_entropy(logits.exec(), logits, targets, scale, losses, logits);
    CHECK(bitwise_equal(logits, result.dlogits));
    CHECK(bitwise_equal(losses, result.losses));
  }
}

TEST_CASE("cross entropy gradient matches finite differences", "[cross_entropy]") {
  const Array logits = randn({4, 9}, DType::f64, 1), target = random_ids({4}, 9, 2), other = random_ids({4}, 9, 3);
  const Array weight = Array::full({4}, 0.3);
  const CrossEntropyTargets targets{.target = target, .other = other, .weight = weight, .smoothing = 0.2};
  const Array cotangent = randn({4}, DType::f64, 4);
  const Array expected =
      finite_difference(logits, cotangent, [&](const Array& v) { return losses_of(v, targets); });
  auto gradient = run(logits, targets, 1, DType::f64).dlogits.to_vector<double>();
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] *= cotangent.to_vector<double>()[i / 9];
  CHECK(relative_error(Array::from(gradient, logits.shape()), expected) <= 1e-6);
}

TEST_CASE("cross entropy of large, masked and broken logits", "[cross_entropy]") {
  const Array target = Array::from(std::vector<std::int32_t>{0}, {1});
  const CrossEntropyTargets targets{.target = target};
  const auto loss = [&](std::vector<float> x) {
    const auto n = static_cast<Dim>(x.size());
    return losses_of(Array::from(x, {1, n}), targets).item();
  };
  CHECK(std::abs(loss({1e4f, 1e4f}) - std::log(2.0)) <= 1e-6);
  CHECK(std::abs(loss({-1e30f, -1e30f, -INFINITY}) - std::log(2.0)) <= 1e-6);
  CHECK(loss({0.0f, -INFINITY, -INFINITY}) == 0);
  CHECK(loss({-200.0f, 0.0f}) == 200);
  CHECK(loss({-INFINITY, 0.0f}) == INFINITY);
  for (const std::size_t position : {std::size_t{0}, std::size_t{1}, std::size_t{2500}, std::size_t{2600}}) {
    std::vector<float> x(2601, 1.0f);
    x[position] = NAN;
    CHECK(std::isnan(loss(x)));
    x[position] = INFINITY;
    CHECK(!std::isfinite(loss(x)));
  }
  CHECK(std::isnan(loss({NAN, NAN})));
  CHECK(!std::isfinite(loss({-INFINITY, -INFINITY})));
}

TEST_CASE("cross entropy of a row that begins with more masked logits than are looked at together", "[cross_entropy]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  CAPTURE(kernels::isa_name(), name_of(dtype));
  const Array logits = randn({2, 5000}, dtype, 1), target = Array::from(std::vector<std::int32_t>{3000, 4999}, {2});
  fill(logits.slice(1, 0, 4500), -INFINITY);
  fill(logits.select(0, 0).slice(0, 2048, 4500), 1);
  const Result expected = reference(logits, target, {}, {}, 0, 1), result = run(logits, {.target = target}, 1, dtype);
  CHECK(relative_error(result.losses, expected.losses) <= tolerance(master_dtype(dtype), 4));
  CHECK(relative_error(result.dlogits, expected.dlogits) <= tolerance(dtype, 4));
}

TEST_CASE("cross entropy leaves rows with target -1 out", "[cross_entropy]") {
  const Array logits = Array::full({2, 5}, NAN), target = Array::from(std::vector<std::int32_t>{-1, -1}, {2});
  const Result result = run(logits, {.target = target}, 1, DType::f32);
  CHECK(all_equal(result.losses, 0));
  CHECK(all_equal(result.dlogits, 0));
}

TEST_CASE("cross entropy takes rows with any stride", "[cross_entropy]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array logits = randn({9, 40}, dtype, 1).slice(1, 2, 35), target = random_ids({9, 2}, 33, 2).select(1, 1);
  const Array contiguous_target = target.clone();
  const Result expected = run(logits.clone(), {.target = contiguous_target}, 1, dtype);
  const Array wide = Array::zeros({9, 50}, dtype), dlogits = wide.slice(1, 3, 36),
              losses = Array::zeros({9, 2}, master_dtype(dtype)).select(1, 0);
  kernels::cross_entropy(logits.exec(), logits, {.target = target}, 1, losses, dlogits);
  CHECK(bitwise_equal(dlogits, expected.dlogits));
  CHECK(bitwise_equal(losses, expected.losses));
}

TEST_CASE("cross entropy does not depend on the number of threads", "[cross_entropy]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array logits = randn({57, 3001}, dtype, 1), target = random_ids({57}, 3001, 2);
  CHECK(same_on_all_threads([&] { return run(logits, {.target = target, .smoothing = 0.1}, 1, dtype).dlogits; }));
  CHECK(same_on_all_threads([&] { return run(logits, {.target = target, .smoothing = 0.1}, 1, dtype).losses; }));
}

TEST_CASE("cross entropy names what is wrong with its input", "[cross_entropy]") {
  const Array logits = randn({3, 5}, DType::bf16, 1);
  const auto with = [&](std::vector<std::int32_t> ids) {
    const Array target = Array::from(ids, {static_cast<Dim>(ids.size())});
    run(logits, {.target = target}, 1, DType::bf16);
  };
  CHECK_THROWS_WITH(with({0, 5, 1}), "cross_entropy: target 5 of row 1 is outside [-1, 5)");
  CHECK_THROWS_WITH(with({0, 1, -2}), "cross_entropy: target -2 of row 2 is outside [-1, 5)");
  CHECK_THROWS_WITH(with({0, 1}), "cross_entropy: target must be i32 of shape (3), got i32 (2)");
  const Array target = Array::zeros({3}, DType::i32), other = Array::full({3}, -1, DType::i32);
  CHECK_THROWS_WITH(run(logits, {.target = target, .other = other}, 1, DType::bf16),
                    "cross_entropy: other target -1 of row 0 is outside [0, 5)");
  const Array weight = Array::full({3}, 0.5);
  CHECK_THROWS_WITH(run(logits, {.target = target, .weight = weight}, 1, DType::bf16), says("give the other target too"));
  CHECK_THROWS_AS(run(logits, {.target = target}, 1, DType::f64), InputError);
  CHECK_THROWS_WITH(run(logits.to(DType::f64), {.target = target}, 1, DType::f32), says("dlogits must be f64 like logits"));
  CHECK_THROWS_AS(run(randn({5, 3}, DType::f32, 1).transpose(0, 1), {.target = target}, 1, DType::f32), InputError);
}
