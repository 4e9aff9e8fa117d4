#include "kernels/normalize/normalize.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("normalize_rows gives each row the length that is asked for", "[kernels]") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array x = randn({3, 517}, master_dtype(dtype), 1), target = randn({3, 517}, master_dtype(dtype), 2);
  for (const bool with_target : {false, true}) {
    const Array y = Array::full({3, 517}, NAN, dtype);
    kernels::normalize_rows({}, x, with_target ? ConstView(target) : ConstView(), 2, y);
    for (Dim k = 0; k < 3; ++k) {
      const Array row = x.select(0, k);
      const double factor = (with_target ? norm(target.select(0, k)) : 1) / (norm(row) + 2);
      std::vector<double> expected = row.to_vector<double>();
      for (double& value : expected) value *= factor;
      CHECK(relative_error(y.select(0, k), Array::from(expected, {517})) <= tolerance(dtype));
    }
  }
}

TEST_CASE("normalize_rows leaves zeros, keeps what is not finite to its row, and works in place", "[kernels]") {
  const Array x = Array::from(std::vector<float>{0, 0, 3, 4, NAN, 1}, {3, 2});
  kernels::normalize_rows({}, x, {}, 0, x);
  const auto values = x.to_vector<float>();
  CHECK(values[0] == 0);
  CHECK(values[1] == 0);
  CHECK(values[2] == Approx(0.6));
  CHECK(values[3] == Approx(0.8));
  CHECK(std::isnan(values[4]));
  CHECK(std::isnan(values[5]));
}

TEST_CASE("normalize_rows names what is wrong with its input", "[kernels]") {
  const Array x = Array::zeros({2, 3}), other = Array::zeros({3, 2});
  CHECK_THROWS_WITH(kernels::normalize_rows({}, Array::zeros({2}), {}, 0, x), "normalize_rows: x must be (N, M), got (2)");
  CHECK_THROWS_AS(kernels::normalize_rows({}, x, {}, 0, other), InputError);
  CHECK_THROWS_AS(kernels::normalize_rows({}, x, other, 0, x), InputError);
  CHECK_THROWS_WITH(kernels::normalize_rows({}, other.transpose(0, 1), {}, 0, x),
                    "normalize_rows: operands of shape (2, 3) must be contiguous; make them so first");
}
