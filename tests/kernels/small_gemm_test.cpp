#include "kernels/small_gemm/small_gemm.h"

#include <cmath>
#include <map>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using kernels::SmallGemm;

namespace {

template <class T>
std::vector<T> normal_values(Dim count, std::uint64_t stream) {
  static std::map<std::uint64_t, std::vector<T>> drawn;  // a value depends on its place alone
  std::vector<T>& values = drawn[stream];
  if (static_cast<Dim>(values.size()) < count) values = test::randn({count}, dtype_of<T>(), stream).template to_vector<T>();
  return {values.begin(), values.begin() + count};
}

// Largest difference from a naive f64 product, in units of the largest entry; everything between the columns of C
// must keep its value.
template <class T>
double product_error(SmallGemm<T> gemm, bool with_bias) {
  const auto bias = normal_values<T>(gemm.n, 4);
  if (with_bias) gemm.bias = bias.data();
  const Dim a_rows = gemm.trans_a ? gemm.k : gemm.m;
  const auto a = normal_values<T>(a_rows * gemm.lda, 1), b = normal_values<T>(gemm.k * gemm.ldb, 2);
  const auto before = normal_values<T>(gemm.m * gemm.ldc, 3);
  auto c = before;
  gemm(a.data(), b.data(), c.data());
  double worst = 0, largest = 1;
  for (Dim r = 0; r < gemm.m; ++r) {
    for (Dim col = 0; col < gemm.ldc; ++col) {
      const auto at = static_cast<std::size_t>(r * gemm.ldc + col);
      double expected = static_cast<double>(before[at]);
      if (col < gemm.n) {
        if (!gemm.accumulate) expected = 0;
        if (with_bias) expected += static_cast<double>(bias[static_cast<std::size_t>(col)]);
        for (Dim k = 0; k < gemm.k; ++k) {
          const Dim in_a = gemm.trans_a ? k * gemm.lda + r : r * gemm.lda + k;
          expected += static_cast<double>(a[static_cast<std::size_t>(in_a)]) *
                      static_cast<double>(b[static_cast<std::size_t>(k * gemm.ldb + col)]);
        }
      } else if (c[at] != before[at]) {
        return INFINITY;
      }
      worst = std::max(worst, std::abs(static_cast<double>(c[at]) - expected));
      if (std::isnan(static_cast<double>(c[at]))) return INFINITY;
      largest = std::max(largest, std::abs(expected));
    }
  }
  return worst / largest;
}

}  // namespace

TEMPLATE_TEST_CASE("small_gemm equals a naive product for every shape, transposed, accumulating and with a bias", "[kernels]",
                   float, double) {
  const double tolerance = std::is_same_v<TestType, float> ? 2e-6 : 1e-14;
  for (const Dim m : {0, 1, 2, 3, 5, 7, 8, 13, 64}) {
    for (const Dim n : {0, 1, 3, 7, 8, 9, 16, 17, 24, 25, 31, 33, 47, 48, 65, 100}) {
      for (const Dim k : {0, 1, 5, 64, 259}) {
        for (const bool trans_a : {false, true}) {
          for (const auto& [accumulate, bias] : {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
            const SmallGemm<TestType> gemm{m, n, k, (trans_a ? m : k) + 3, n + 5, n + 2, trans_a, accumulate};
            const double error = product_error(gemm, bias);
            INFO("m " << m << " n " << n << " k " << k << " trans_a " << trans_a << " accumulate " << accumulate << " bias "
                      << bias);
            if (!(error <= tolerance)) FAIL("error " << error);
          }
        }
      }
    }
  }
}

TEST_CASE("small_gemm gives an element the same bits in products of any size", "[kernels]") {
  const auto a = normal_values<float>(37 * 500, 1), b = normal_values<float>(500 * 70, 2);
  std::vector<float> whole(37 * 70), piece(70);
  SmallGemm<float>{.m = 37, .n = 70, .k = 500, .lda = 500, .ldb = 70, .ldc = 70}(a.data(), b.data(), whole.data());
  for (std::size_t r = 0; r < 37; ++r) {
    for (const std::size_t from : {std::size_t{0}, std::size_t{13}, std::size_t{69}}) {
      const SmallGemm<float> row{.m = 1, .n = static_cast<Dim>(70 - from), .k = 500, .lda = 500, .ldb = 70, .ldc = 70};
      row(a.data() + r * 500, b.data() + from, piece.data());
      for (std::size_t c = from; c < 70; ++c) REQUIRE(piece[c - from] == whole[r * 70 + c]);
    }
  }
}

TEMPLATE_TEST_CASE("pack_transposed transposes any block and touches nothing else", "[kernels]", float, double) {
  for (const Dim rows : {1, 3, 4, 8, 9, 23, 64}) {
    for (const Dim columns : {1, 2, 4, 7, 8, 64, 65}) {
      const Dim ld_from = columns + 3, ld_to = rows + 2;
      const auto from = normal_values<TestType>(rows * ld_from, 1);
      const auto before = normal_values<TestType>(columns * ld_to, 2);
      auto to = before;
      kernels::pack_transposed(from.data(), rows, columns, ld_from, to.data(), ld_to);
      for (Dim c = 0; c < columns; ++c) {
        for (Dim r = 0; r < ld_to; ++r) {
          const auto at = static_cast<std::size_t>(c * ld_to + r);
          const auto expected = r < rows ? from[static_cast<std::size_t>(r * ld_from + c)] : before[at];
          REQUIRE(to[at] == expected);
        }
      }
    }
  }
}
