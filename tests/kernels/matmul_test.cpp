#include "kernels/matmul/matmul.h"

#include <chrono>
#include <cmath>

#include "core/parallel.h"
#include "kernels/gelu/gelu.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::matmul;

namespace {

// a (B, M, K), b (B, K, N) in f64, naively.
Array reference(const Array& a, const Array& b) {
  const Dim batch = a.size(0), m = a.size(1), k = a.size(2), n = b.size(2);
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  std::vector<double> z(static_cast<std::size_t>(batch * m * n));
  for (Dim q = 0; q < batch; ++q)
    for (Dim i = 0; i < m; ++i)
      for (Dim l = 0; l < k; ++l)
        for (Dim j = 0; j < n; ++j)
          z[static_cast<std::size_t>((q * m + i) * n + j)] +=
              x[static_cast<std::size_t>((q * m + i) * k + l)] * y[static_cast<std::size_t>((q * k + l) * n + j)];
  return Array::from(z, {batch, m, n});
}

// The same values with the last two dimensions stored the other way round.
Array stored_transposed(const Array& a) { return a.transpose(-2, -1).clone().transpose(-2, -1); }
// The same values with gaps between elements and rows.
Array stored_with_gaps(const Array& a) {
  Array wide = Array::zeros(a.shape().with(-1, 2 * a.size(-1)), a.dtype());
  std::vector<Dim> sizes(a.shape().sizes().begin(), a.shape().sizes().end());
  sizes.push_back(2);
  const Array view = wide.reshape(Shape(sizes)).select(-1, 0);
  copy(a, view);
  return view;
}

struct Size {
  Dim batch, m, n, k;
};

}  // namespace

TEST_CASE("matmul equals the naive product for every dtype, layout and odd size") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const auto& [batch, m, n, k] : {Size{1, 1, 1, 1}, {1, 7, 5, 3}, {1, 1, 7, 9}, {1, 5, 1, 9}, {3, 1, 17, 31},
                                         {2, 33, 1, 8}, {5, 13, 29, 64}, {1, 129, 65, 101}}) {
      const Array a = randn({batch, m, k}, dtype, 1), b = randn({batch, k, n}, dtype, 2);
      const Array expected = reference(a, b);
      const double tol = tolerance(dtype, k);
      INFO(dtype << " batch " << batch << " m " << m << " n " << n << " k " << k);
      for (int layout = 0; layout < 27; ++layout) {
        const auto stored = [&](const Array& x, int how) { return how == 0 ? x : how == 1 ? stored_transposed(x) : stored_with_gaps(x); };
        INFO("layout " << layout);
        const Array y = stored(Array::zeros({batch, m, n}, dtype), layout / 9);
        matmul({}, stored(a, layout % 3), stored(b, layout / 3 % 3), y, {});
        REQUIRE(relative_error(y, expected) <= tol);
      }
    }
  }
}

TEST_CASE("matmul adds a bias and accumulates") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const auto& [batch, m, n, k] : {Size{4, 37, 23, 19}, {1, 50, 200, 300}}) {
      const Array a = randn({batch, m, k}, dtype, 3), b = randn({batch, k, n}, dtype, 4);
      const Array bias = randn({n}, master_dtype(dtype), 5), start = randn({batch, m, n}, dtype, 6);
      const auto product = reference(a, b).to_vector<double>(), before = start.to_vector<double>(), shift = bias.to_vector<double>();
      for (const bool accumulate : {false, true}) {
        for (const bool with_bias : {false, true}) {
          for (const bool gaps : {false, true}) {
            INFO(dtype << " n " << n << " accumulate " << accumulate << " bias " << with_bias << " gaps " << gaps);
            auto expected = product;
            for (std::size_t i = 0; i < expected.size(); ++i) {
              expected[i] += (accumulate ? before[i] : 0) + (with_bias ? shift[i % shift.size()] : 0);
            }
            const Array y = gaps ? stored_with_gaps(start) : start.clone();
            matmul({}, a, b, y, {.bias = with_bias ? ConstView(bias) : ConstView(), .accumulate = accumulate});
            REQUIRE(relative_error(y, Array::from(expected, y.shape())) <= tolerance(dtype, k));
          }
        }
      }
    }
  }
}

TEST_CASE("matmul repeats batches, writes other dtypes, and takes up to four batch dimensions") {
  const Array a = randn({1, 9, 8}, DType::f32, 7), b = randn({5, 8, 6}, DType::f32, 8);
  const Array expected = reference(a.expand({5, 9, 8}).as_contiguous(), b);
  const Array y = Array::empty({5, 9, 6}, DType::f32);
  matmul({}, a, b, y, {});
  REQUIRE(relative_error(y, expected) <= tolerance(DType::f32, 8));
  matmul({}, a.select(0, 0), b, y, {});
  REQUIRE(relative_error(y, expected) <= tolerance(DType::f32, 8));
  // bf16 operands with an f32 result, as weight gradients are formed
  const Array wide = Array::empty({5, 9, 6}, DType::f32);
  matmul({}, a.to(DType::bf16), b.to(DType::bf16), wide, {});
  REQUIRE(relative_error(wide, reference(a.to(DType::bf16).expand({5, 9, 8}).as_contiguous(), b.to(DType::bf16))) <= tolerance(DType::f32, 8));
  const Array deep = Array::empty({2, 1, 1, 5, 9, 6}, DType::f32);
  matmul({}, a.reshape({1, 1, 1, 1, 9, 8}), b.reshape({1, 1, 1, 5, 8, 6}), deep, {});
  REQUIRE(relative_error(deep.select(0, 1).reshape({5, 9, 6}), expected) <= tolerance(DType::f32, 8));
}

TEST_CASE("matmul repeats rows, columns and single values of its operands") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Array x = randn({2, 20, 30}, dtype, 1);
    for (const Shape& stored : {Shape{2, 20, 1}, Shape{2, 1, 30}, Shape{1, 1, 1}, Shape{1, 20, 30}}) {
      INFO(dtype << " " << stored);
      const Array a = randn(stored, dtype, 2).expand({2, 20, 30}), b = a.transpose(1, 2);
      const Array left = Array::empty({2, 20, 20}, dtype), right = Array::empty({2, 30, 30}, dtype);
      matmul({}, a, x.transpose(1, 2), left, {});
      CHECK(relative_error(left, reference(a.as_contiguous(), x.transpose(1, 2).as_contiguous())) <= tolerance(dtype, 30));
      matmul({}, x.transpose(1, 2), a, right, {});
      CHECK(relative_error(right, reference(x.transpose(1, 2).as_contiguous(), a.as_contiguous())) <= tolerance(dtype, 30));
      matmul({}, x, b, left, {});
      CHECK(relative_error(left, reference(x, b.as_contiguous())) <= tolerance(dtype, 30));
    }
  }
}

TEST_CASE("matmul never takes the library's unoptimised path for a batch") {
  // It is hundreds of times slower, so that a generous limit tells the two apart on a busy machine too.
  const auto fastest = [](const Shape& a_shape, const Shape& b_shape, const Shape& y_shape) {
    const Array a = randn(a_shape, DType::f32, 1), b = randn(b_shape, DType::f32, 2), y = Array::empty(y_shape);
    double best = 1e9;
    for (int run = 0; run < 5; ++run) {
      const auto start = std::chrono::steady_clock::now();
      matmul({}, a, b, y, {});
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  };
  const double plain = fastest({96, 96}, {96, 96}, {96, 96});
  REQUIRE(fastest({1, 96, 96}, {1, 96, 96}, {1, 96, 96}) < 20 * plain);
  REQUIRE(fastest({1, 96, 96}, {4, 96, 96}, {4, 96, 96}) < 80 * plain);
  REQUIRE(fastest({3, 1, 96, 96}, {1, 2, 96, 96}, {3, 2, 96, 96}) < 120 * plain);
}

TEST_CASE("matmul of column slabs: blocks of one matrix without copies") {
  // x (T, blocks q) times v (blocks, q, r), as structured layers use it
  const Dim tokens = 50, blocks = 3, q = 7, r = 5;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Array x = randn({tokens, blocks * q}, dtype, 9), v = randn({blocks, q, r}, dtype, 10);
    const Array slabs = x.reshape({tokens, blocks, q}).transpose(0, 1);
    const Array y = Array::empty({tokens, blocks, r}, dtype);
    matmul({}, slabs, v, y.transpose(0, 1), {});
    REQUIRE(relative_error(y.transpose(0, 1), reference(slabs.as_contiguous(), v)) <= tolerance(dtype, q));
  }
}

TEST_CASE("matmul with integer values is exact") {
  const auto integers = [](const Shape& shape, std::uint64_t key) {
    const Array ids = random_ids(shape, 17, key);
    auto values = ids.to_vector<float>();
    for (float& value : values) value -= 8;
    return Array::from(values, shape);
  };
  const Array a = integers({1, 67, 130}, 11), b = integers({1, 130, 45}, 12), y = Array::empty({1, 67, 45}, DType::f32);
  matmul({}, a, b, y, {});
  REQUIRE(bitwise_equal(y, reference(a, b).to(DType::f32)));
}

TEST_CASE("matmul sums the rows of a beside the product") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim k : {0, 1, 37}) {
      INFO(dtype << " k " << k);
      // The weight's and the bias's gradient: a is the transposed gradient of the result.
      const Array dy = randn({k, 9}, dtype, 1), x = randn({k, 6}, dtype, 2);
      Array y = Array::empty({9, 6}, master_dtype(dtype)), alone = y.clone(), sums = Array::full({9}, NAN, master_dtype(dtype));
      matmul({}, dy.transpose(0, 1), x, alone, {});
      matmul({}, dy.transpose(0, 1), x, y, {.row_sums = sums});
      REQUIRE(bitwise_equal(y, alone));
      std::vector<double> expected(9);
      const auto values = dy.to_vector<double>();
      for (std::size_t i = 0; i < values.size(); ++i) expected[i % 9] += values[i];
      const auto got = sums.to_vector<double>();
      for (std::size_t i = 0; i < 9; ++i) REQUIRE(std::abs(got[i] - expected[i]) <= 1e-5);
    }
  }
  const Array x = randn({4, 4}, DType::f32, 1), sums = Array::empty({4}), narrow = Array::empty({4}, DType::bf16);
  REQUIRE_THROWS_AS(matmul({}, x, x, x.clone(), {.bias = sums, .row_sums = sums}), InputError);
  REQUIRE_THROWS_AS(matmul({}, x, x, x.clone(), {.row_sums = Array::empty({5})}), InputError);
  REQUIRE_THROWS_AS(matmul({}, x, x, x.clone(), {.row_sums = narrow}), InputError);
}

TEST_CASE("an empty inner dimension gives zeros or the bias") {
  const Array a = Array::empty({3, 0}, DType::f32), b = Array::empty({0, 4}, DType::f32), bias = randn({4}, DType::f32, 13);
  const Array y = Array::full({3, 4}, 7.0, DType::f32);
  matmul({}, a, b, y, {.bias = bias});
  REQUIRE(bitwise_equal(y.select(0, 2), bias));
  matmul({}, a, b, y, {});
  REQUIRE(y.to_vector<float>() == std::vector<float>(12, 0.0f));
}

TEST_CASE("a product that ends in GELU has the bits of the product and then GELU, and keeps what GELU is taken of") {
  const auto kind = GENERATE(kernels::Gelu::erf, kernels::Gelu::tanh);
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const auto& [batch, m, n, k] : {Size{1, 1, 1, 1}, {1, 33, 17, 9}, {1, 64, 40, 96}, {1, 5, 3, 0}, {1, 0, 3, 4}}) {
      for (const bool with_bias : {false, true}) {
        INFO(dtype << " m " << m << " n " << n << " k " << k << (with_bias ? " bias" : ""));
        const DType master = master_dtype(dtype);
        const Array a = randn({m, k}, dtype, 41), weight = randn({n, k}, master, 42), b = weight.transpose(0, 1);
        const Array bias = with_bias ? randn({n}, master, 43) : Array();
        const Array product = Array::full({m, n}, NAN, dtype), expected = nan_like(product);
        matmul({}, a, b, product, {.bias = bias});
        kernels::gelu_forward({}, product, kind, expected);
        const Array y = nan_like(product), z = nan_like(product), alone = nan_like(product);
        matmul({}, a, b, y, {.bias = bias, .gelu = kind, .pre_activation = z});
        matmul({}, a, b, alone, {.bias = bias, .gelu = kind});
        REQUIRE(bitwise_equal(y, expected));
        REQUIRE(bitwise_equal(z, product));
        REQUIRE(bitwise_equal(alone, expected));
      }
    }
  }
}

TEST_CASE("a product times the derivative of GELU has the bits of the product and then GELU's backward") {
  const auto kind = GENERATE(kernels::Gelu::erf, kernels::Gelu::tanh);
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const auto& [batch, m, n, k] : {Size{1, 1, 1, 1}, {1, 33, 17, 9}, {1, 64, 40, 96}, {1, 5, 3, 0}, {1, 0, 3, 4}}) {
      INFO(dtype << " m " << m << " n " << n << " k " << k);
      const Array dy = randn({m, k}, dtype, 41), weight = randn({k, n}, master_dtype(dtype), 42), z = randn({m, n}, dtype, 43);
      const Array product = Array::full({m, n}, NAN, dtype), expected = nan_like(product), got = nan_like(product);
      matmul({}, dy, weight, product, {});
      kernels::gelu_backward({}, z, product, kind, expected);
      matmul({}, dy, weight, got, {.gelu = kind, .gelu_at = z});
      REQUIRE(bitwise_equal(got, expected));
    }
  }
}

TEST_CASE("matmul refuses what does not fit and says why") {
  const Array x = randn({4, 4}, DType::f32, 44), batch = randn({2, 4, 4}, DType::f32, 45), narrow = x.slice(1, 0, 3).clone();
  const auto gelu = kernels::Gelu::erf;
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.pre_activation = x.clone()}), says("without gelu"));
  REQUIRE_THROWS_WITH(matmul({}, batch, batch, batch.clone(), {.gelu = gelu}), says("one matrix") && says("(2, 4"));
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.to(DType::bf16), {.gelu = gelu}), says("a's dtype f32"));
  REQUIRE_THROWS_AS(matmul({}, x, x, x.clone(), {.accumulate = true, .gelu = gelu}), InputError);
  REQUIRE_THROWS_AS(matmul({}, x, x, x.clone().transpose(0, 1), {.gelu = gelu}), InputError);
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.gelu = gelu, .pre_activation = narrow}),
                      says("pre_activation") && says("(4, 3)"));
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.gelu_at = x}), says("gelu_at") && says("without gelu"));
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.gelu = gelu, .gelu_at = narrow}), says("gelu_at") && says("(4, 3)"));
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.bias = randn({4}, DType::f32, 3), .gelu = gelu, .gelu_at = x}),
                      says("excludes a bias"));
  const Array y = Array::empty({2, 4}, DType::f32);
  REQUIRE_THROWS_WITH(matmul({}, randn({2, 3}, DType::f32, 1), randn({5, 4}, DType::f32, 2), y, {}),
                      says("(2, 3)") && says("(5, 4)"));
  REQUIRE_THROWS_WITH(matmul({}, randn({2, 3}, DType::f64, 1), randn({3, 4}, DType::f32, 2), y, {}), says("f64"));
  REQUIRE_THROWS_WITH(
      matmul({}, randn({2, 3}, DType::f32, 1), randn({3, 4}, DType::f32, 2), y, {.bias = randn({3}, DType::f32, 3)}),
      says("bias"));
  // The library describes no batch whose products overlap.
  const ConstView overlapping(x.data<float>(), DType::f32, {2, 2, 2}, {1, 4, 1});
  const Array two = Array::empty({2, 2, 2});
  REQUIRE_THROWS_WITH(matmul({}, overlapping, randn({2, 2, 2}, DType::f32, 4), two, {}), says("matmul: oneDNN: ") && says("a (2, 2, 2)"));
  const Array column = randn({4, 2}, DType::f32, 3).select(1, 0);
  REQUIRE_THROWS_WITH(matmul({}, x, x, x.clone(), {.bias = column}),
                      "matmul: bias f32(4) must have contiguous rows; copy with as_contiguous() first");
}

TEST_CASE("small products read nothing beside their operands and have the same bits for any number of threads") {
  // Slabs of wider arrays that are NaN elsewhere; sums in f32, on top of what is there, and with a bias.
  const Dim batch = 3, n = 70;
  const Dim m = GENERATE(101, 150);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Dim k : {1, 6, 49, 64, 97}) {
      for (const bool by_columns : {false, true}) {
        INFO(dtype << " m " << m << " k " << k << " a by columns " << by_columns);
        const auto within_nan = [](const Array& values) {
          const Array wide = Array::full({values.size(0) + 2, values.size(1) + 2, values.size(2) + 2}, NAN, values.dtype());
          const Array view = wide.slice(0, 1, 1 + values.size(0)).slice(1, 1, 1 + values.size(1)).slice(2, 1, 1 + values.size(2));
          copy(values, view);
          return view;
        };
        const Array values = randn({batch, m, k}, dtype, 21), weights = randn({batch, k, n}, dtype, 22);
        const Array a = by_columns ? within_nan(values.transpose(1, 2).clone()).transpose(1, 2) : within_nan(values);
        const Array b = within_nan(weights), bias = randn({n}, DType::f32, 23), start = randn({batch, m, n}, DType::f32, 24);
        const auto product = [&](int threads, DType result) {
          const int before = num_threads();
          set_num_threads(threads);
          const Array y = start.to(result).clone();
          matmul({}, a, b, y, {.bias = bias, .accumulate = true});
          set_num_threads(before);
          return y;
        };
        const auto sums = reference(values, weights).to_vector<double>(), shift = bias.to_vector<double>();
        auto expected = start.to_vector<double>();
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += sums[i] + shift[i % static_cast<std::size_t>(n)];
        const Array y = product(1, DType::f32);
        REQUIRE(relative_error(y, Array::from(expected, y.shape())) <= tolerance(DType::f32, k));
        REQUIRE(relative_error(product(1, dtype), Array::from(expected, y.shape())) <= tolerance(dtype, k));
        // oneDNN, which has some of them, may share a sum of more than a million operations among threads.
        const bool own = dtype == DType::f32 || (kernels::multiplies_bf16({}) && !by_columns);
        if (own || batch * m * n * k < 1 << 20) REQUIRE(bitwise_equal(product(2, DType::f32), y));
      }
    }
  }
}
