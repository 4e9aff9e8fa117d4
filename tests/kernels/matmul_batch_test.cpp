// What each product of a batch may have of its own, as the blocks of a structured matrix do.
#include "kernels/matmul/matmul.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::matmul;

namespace {

struct Size {
  Dim batch, m, n, k;
};
std::ostream& operator<<(std::ostream& out, const Size& s) {
  return out << "batch " << s.batch << " m " << s.m << " n " << s.n << " k " << s.k;
}

}  // namespace

TEST_CASE("each product of a batch adds its own bias", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    // For kernels of our own, for the library, a single one, and sums of nothing.
    for (const Size& s : {Size{3, 33, 20, 24}, {3, 4, 400, 200}, {1, 5, 7, 9}, {4, 6, 5, 0}}) {
      for (const bool accumulate : {false, true}) {
        INFO(dtype << " " << s << " accumulate " << accumulate);
        const Array a = randn({s.batch, s.m, s.k}, dtype, 1), b = randn({s.batch, s.k, s.n}, dtype, 2);
        const Array bias = randn({s.batch, 1, s.n + 3}, master_dtype(dtype), 3).slice(2, 0, s.n);
        const Array y = randn({s.batch, s.m, s.n}, dtype, 4), expected = y.clone();
        matmul({}, a, b, y, {.bias = bias, .accumulate = accumulate});
        for (Dim i = 0; i < s.batch; ++i) {
          matmul({}, a.select(0, i), b.select(0, i), expected.select(0, i),
                 {.bias = bias.select(0, i).select(0, 0), .accumulate = accumulate});
        }
        CHECK(relative_error(y, expected) <= tolerance(dtype, s.k));
      }
    }
  }
}

TEST_CASE("each product of a batch sums the rows of its own a", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Size& s : {Size{3, 9, 6, 33}, {1, 5, 7, 9}, {4, 6, 5, 0}}) {
      for (const bool repeated : {false, true}) {
        INFO(dtype << " " << s << (repeated ? " of one a" : ""));
        const DType master = master_dtype(dtype);
        const Array a = randn({repeated ? 1 : s.batch, s.k, s.m}, dtype, 1).transpose(1, 2);
        const Array b = randn({s.batch, s.k, s.n}, dtype, 2), y = Array::full({s.batch, s.m, s.n}, NAN, master);
        const Array sums = Array::full({s.batch, s.m + 3}, NAN, master).slice(1, 0, s.m);
        const Array alone = nan_like(y), expected = Array::full({s.m}, NAN, master);
        matmul({}, a, b, y, {.row_sums = sums});
        matmul({}, a, b, alone, {});
        CHECK(bitwise_equal(y, alone));
        for (Dim i = 0; i < s.batch; ++i) {
          matmul({}, a.select(0, repeated ? 0 : i), b.select(0, i), alone.select(0, i), {.row_sums = expected});
          CHECK(difference(sums.select(0, i), expected) == 0);
        }
      }
    }
  }
}

TEST_CASE("biases and sums of a batch that do not fit it are refused", "[kernels]") {
  const Array x = Array::zeros({3, 4, 4}), y = x.clone(), apart = Array::zeros({3, 1, 8}).reshape({3, 1, 4, 2}).select(3, 0);
  CHECK_THROWS_WITH(matmul({}, x, x, y, {.bias = Array::zeros({2, 1, 4})}),
                    "matmul: bias f32(2, 1, 4) must be f32(3, 1, 4)");
  CHECK_THROWS_WITH(matmul({}, x, x, y, {.bias = apart}),
                    "matmul: bias f32(3, 1, 4) must have contiguous rows; copy with as_contiguous() first");
  CHECK_THROWS_WITH(matmul({}, x, x, y, {.row_sums = Array::zeros({4})}), "matmul: row_sums f32(4) must be f32(3, 4)");
  const Array deep = y.reshape({3, 1, 4, 4});
  CHECK_THROWS_WITH(matmul({}, deep, deep, deep.clone(), {.row_sums = Array::zeros({3, 1, 4})}),
                    says("at most, without bias or gelu") && says("(3, 1, 4, 4)"));
}
