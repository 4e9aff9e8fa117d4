#include "kernels/reduce/reduce.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array sum_to(const Array& x, const Shape& shape, DType dtype) {
  const Array y = Array::full(shape, -1, dtype);
  kernels::sum_to(x.exec(), x, y);
  return y;
}

// y (1) of one array.
void sum_of_squares(const ConstView& x, const View& y) { kernels::sums_of_squares(Exec{}, {&x, 1}, y); }

// Element by element, in the widest type: rounding of the reference must not blur the comparison.
Array reference(const Array& x, const Shape& shape) {
  const auto values = x.to_vector<double>();
  const auto strides = contiguous_strides(shape);
  std::vector<long double> sums(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Dim rest = static_cast<Dim>(i), target = 0;
    for (int d = shape.ndim() - 1; d >= 0; --d) {
      const Dim index = rest % x.size(d);
      rest /= x.size(d);
      if (shape[d] != 1) target += index * strides[static_cast<std::size_t>(d)];
    }
    sums[static_cast<std::size_t>(target)] += values[i];
  }
  return Array::from(std::vector<double>(sums.begin(), sums.end()), shape);
}

// No cancellation: the norm of the sums is that of their terms.
Array positive(const Shape& shape, DType dtype, std::uint64_t key) {
  auto values = randn(shape, DType::f64, key).to_vector<double>();
  for (double& v : values) v = std::abs(v);
  return Array::from(values, shape).to(dtype);
}

}  // namespace

TEST_CASE("sum_to adds over the dimensions that became 1", "[reduce]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  struct Case {
    Shape from, to;
  };
  const Case c = GENERATE(Case{{1, 1}, {1, 1}}, Case{{7, 13}, {1, 13}}, Case{{3001, 37}, {1, 37}},
                          Case{{65, 64}, {1, 64}}, Case{{5, 20011}, {1, 20011}}, Case{{17, 101}, {17, 1}},
                          Case{{3, 40009}, {1, 1}}, Case{{4, 5, 6}, {1, 5, 6}}, Case{{4, 65, 7}, {4, 1, 7}},
                          Case{{4, 5, 6}, {4, 1, 1}}, Case{{4, 5, 6, 3}, {1, 5, 1, 3}}, Case{{4, 5, 6}, {4, 5, 6}},
                          Case{{2, 3, 4, 5}, {2, 1, 4, 5}}, Case{{2, 3, 4, 5}, {2, 1, 4, 1}});
  CAPTURE(kernels::isa_name(), name_of(dtype), c.from, c.to);
  const Array x = positive(c.from, dtype, 1);
  const Dim terms = c.from.numel() / c.to.numel();
  const Array expected = reference(x, c.to);
  CHECK(relative_error(sum_to(x, c.to, master_dtype(dtype)), expected) <= tolerance(master_dtype(dtype), terms));
  CHECK(relative_error(sum_to(x, c.to, DType::bf16), expected) <= tolerance(DType::bf16, terms));
}

TEST_CASE("sum_to takes strided and repeated operands", "[reduce]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array sliced = positive({70, 5, 40}, dtype, 2).slice(2, 3, 36);
  const Array flipped = positive({33, 5, 70}, dtype, 3).transpose(0, 2);
  const Array repeated = positive({33}, dtype, 4).expand({70, 5, 33});
  for (const Array& x : {sliced, flipped, repeated}) {
    for (const Shape& to : {Shape{1, 5, 33}, Shape{70, 1, 33}, Shape{70, 5, 1}, Shape{1, 1, 33}, Shape{1, 1, 1},
                            Shape{70, 1, 1}, Shape{1, 5, 1}}) {
      CAPTURE(to);
      CHECK(relative_error(sum_to(x, to, master_dtype(dtype)), reference(x, to)) <= 2e-6);
      Shape wide = to.with(2, to[2] * 2);
      const Array y = Array::zeros(wide, DType::f32).slice(2, 0, to[2]);
      kernels::sum_to(x.exec(), x, y);
      CHECK(relative_error(y, reference(x, to)) <= 2e-6);
    }
  }
}

TEST_CASE("sum_to of nothing is zero", "[reduce]") {
  const Array x = Array::empty({0, 3});
  CHECK(all_equal(sum_to(x, {1, 3}, DType::f32), 0));
}

TEST_CASE("sums of squares", "[reduce]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Dim count = GENERATE(0, 1, 7, 1021, 300007);
  const Array x = randn({count}, dtype, 5), y = Array::full({1}, -1, DType::f64);
  sum_of_squares(x, y);
  long double sum = 0;
  for (const double v : x.to_vector<double>()) sum += static_cast<long double>(v) * v;
  const auto expected = static_cast<double>(sum);
  CHECK(std::abs(y.item() - expected) <= 1e-14 * expected);
}

TEST_CASE("sums of squares do not overflow in f32", "[reduce]") {
  const Array x = Array::full({100}, 1e30), y = Array::empty({1}, DType::f64);
  sum_of_squares(x, y);
  CHECK(std::abs(y.item() / 1e62 - 1) <= 1e-6);
}

TEST_CASE("sums do not depend on the number of threads", "[reduce]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  for (const Shape& shape : {Shape{4099, 193}, Shape{3, 50021}, Shape{31, 67, 129}}) {
    const Array x = randn(shape, dtype, 6);
    const int last = shape.ndim() - 1;
    CAPTURE(shape);
    CHECK(same_on_all_threads([&] { return sum_to(x, shape.with(0, 1), DType::f32); }));
    CHECK(same_on_all_threads([&] { return sum_to(x, shape.with(last, 1), DType::f32); }));
    CHECK(same_on_all_threads([&] { return sum_to(x, shape.with(last, 1).with(0, 1), DType::f32); }));
    CHECK(same_on_all_threads([&] {
      const Array y = Array::empty({1}, DType::f64);
      sum_of_squares(x, y);
      return y;
    }));
  }
}

TEST_CASE("sums name what is wrong with their input", "[reduce]") {
  const Array x = randn({4, 6}, DType::f32, 7);
  CHECK_THROWS_WITH(sum_to(x, {1, 3}, DType::f32),
                    "sum_to: shape (4, 6) cannot be summed to (1, 3); each size must be kept or become 1");
  CHECK_THROWS_AS(sum_to(x, {6}, DType::f32), InputError);
  CHECK_THROWS_AS(sum_to(x, {1, 6}, DType::i32), InputError);
  CHECK_THROWS_WITH(sum_of_squares({}, Array::empty({1}, DType::f64)), "sums_of_squares: an array is undefined");
  CHECK_THROWS_AS(sum_of_squares(x.transpose(0, 1), Array::empty({1}, DType::f64)), InputError);
  CHECK_THROWS_AS(sum_of_squares(x, Array::empty({1})), InputError);
}
