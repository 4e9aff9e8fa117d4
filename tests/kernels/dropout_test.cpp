#include "kernels/dropout/dropout.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::DropMask;

namespace {

Array drop(const Array& x, const DropMask& mask) {
  const Array y = Array::full(x.shape(), 77, x.dtype());
  kernels::dropout(x.exec(), x, mask, y);
  return y;
}

}  // namespace

TEST_CASE("dropout keeps exactly the elements that the random numbers keep", "[dropout]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Dim count = GENERATE(0, 1, 3, 1021, 1024, 50021);
  const double p = GENERATE(0.0, 0.1, 0.5, 0.9375);
  const DropMask mask{p, 0x0123456789abcdefu, GENERATE(std::uint64_t{0}, std::uint64_t{0xfedcba9876543210u})};
  CAPTURE(kernels::isa_name(), name_of(dtype), count, p, mask.stream);
  const Array x = randn({count}, dtype, 1), y = drop(x, mask);
  const auto before = x.to_vector<double>(), after = y.to_vector<double>();
  const Random random(mask.key, mask.stream);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const bool kept = static_cast<double>(random.uniform(i)) >= p;
    wrong += !(kept ? std::abs(after[i] * (1 - p) / before[i] - 1) <= tolerance(dtype) : after[i] == 0);
  }
  CHECK(wrong == 0);
}

TEST_CASE("dropout decides at the exact threshold", "[dropout]") {
  // p equal to a number that is drawn, and just above it.
  const Random random(5, 6);
  for (std::uint64_t index = 0; index < 50; ++index) {
    const auto u = static_cast<double>(random.uniform(index));
    const Array x = Array::full({50}, 1);
    CHECK(drop(x, {u, 5, 6}).data<float>()[index] != 0);
    CHECK(drop(x, {std::nextafter(u, 1), 5, 6}).data<float>()[index] == 0);
  }
}

TEST_CASE("dropout adds to the stream what it reads when it runs", "[dropout]") {
  const Array x = Array::full({3000}, 1), later = Array::full({1}, 5, DType::i64);
  const auto path = [&](const DropMask& mask) {
    const Array y = Array::full(x.shape(), 77);
    kernels::drop_path(x.exec(), x, mask, y);
    return y;
  };
  CHECK(bitwise_equal(drop(x, {0.5, 9, 2, later}), drop(x, {0.5, 9, 7})));
  CHECK(bitwise_equal(path({0.5, 9, 2, later}), path({0.5, 9, 7})));
  CHECK_FALSE(bitwise_equal(drop(x, {0.5, 9, 2}), drop(x, {0.5, 9, 7})));
  CHECK_THROWS_AS(drop(x, {0.5, 9, 2, Array::full({1}, 5)}), InputError);
  CHECK_THROWS_AS(drop(x, {0.5, 9, 2, Array::full({2}, 5, DType::i64)}), InputError);
}

TEST_CASE("dropped elements are zero whatever they were", "[dropout]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = Array::full({100}, NAN, dtype);
  CHECK(all_equal(drop(x, {1, 1, 1}), 0));
}

TEST_CASE("drop_path keeps or drops whole samples", "[dropout]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{64}, Shape{37, 5}, Shape{130, 7, 31});
  const DropMask mask{0.25, 9, 4};
  const Array x = randn(shape, dtype, 1), y = Array::full(shape, 77, dtype);
  kernels::drop_path(x.exec(), x, mask, y);
  const Random random(mask.key, mask.stream);
  for (Dim b = 0; b < shape[0]; ++b) {
    const auto before = x.select(0, b).to_vector<double>(), after = y.select(0, b).to_vector<double>();
    const bool kept = static_cast<double>(random.uniform(static_cast<std::uint64_t>(b))) >= mask.p;
    for (std::size_t i = 0; i < after.size(); ++i) {
      REQUIRE(std::abs(after[i] - (kept ? before[i] / 0.75 : 0)) <= tolerance(dtype) * std::abs(before[i]) * 2);
    }
  }
}

TEST_CASE("dropout does not depend on the number of threads", "[dropout]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array x = randn({77, 1301}, dtype, 1);
  CHECK(same_on_all_threads([&] { return drop(x, {0.3, 2, 3}); }));
}

TEST_CASE("dropout names what is wrong with its input", "[dropout]") {
  const Array x = randn({4, 6}, DType::f32, 1);
  CHECK_THROWS_WITH(drop(x, {1.5, 0, 0}), "dropout: p must be in [0, 1], got 1.5");
  CHECK_THROWS_AS(drop(x, {std::nan(""), 0, 0}), InputError);
  CHECK_THROWS_AS(kernels::dropout(x.exec(), x.transpose(0, 1), {}, Array::empty({6, 4})), InputError);
  CHECK_THROWS_WITH(kernels::drop_path(x.exec(), Array::full({}, 1), {}, Array::empty({})),
                    says("needs a dimension of samples"));
}
