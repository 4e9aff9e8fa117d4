#include "kernels/small_gemm/pair_gemm.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <vector>

#include "core/rounding.h"
#include "kernels/matmul/library.h"
#include "kernels/matmul/matmul.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::kernels;

namespace {

template <class T>
std::vector<T> normal_values(Dim count, std::uint64_t stream) {
  static std::map<std::uint64_t, std::vector<T>> drawn;  // a value depends on its place alone
  std::vector<T>& values = drawn[stream];
  if (static_cast<Dim>(values.size()) < count) values = test::randn({count}, dtype_of<T>(), stream).template to_vector<T>();
  return {values.begin(), values.begin() + count};
}

template <class T>
double at(const std::vector<T>& values, Dim index) {
  return convert<double>(values[static_cast<std::size_t>(index)]);
}

std::vector<Pair> packed(const std::vector<bfloat16>& from, Dim ld, Dim rows, Dim columns) {
  std::vector<Pair> pairs(static_cast<std::size_t>(packed_pairs(rows, columns)), ~Pair{0});  // NaN
  pack_pairs(from.data(), ld, rows, columns, pairs.data());
  return pairs;
}

bool has_instructions() {
  if (multiplies_bf16(Device{})) return true;
  WARN("skipped: this processor does not multiply bf16");
  return false;
}
// By AVX-512 and, where the processor has it, AMX.
std::vector<int> ways() { return has_amx() ? std::vector{0, 1} : std::vector{0}; }

// Largest difference from a naive f64 product, in units of the largest entry; what lies between the rows of C must keep its
// value.
template <class C>
double product_error(PairGemm gemm, bool with_bias) {
  const auto a = normal_values<bfloat16>(gemm.m * gemm.k, 1), b = normal_values<bfloat16>(gemm.k * (gemm.n + 3), 2);
  const auto bias = normal_values<float>(gemm.n, 4);
  const std::vector<Pair> b_pairs = packed(b, gemm.n + 3, gemm.k, gemm.n);
  const auto before = normal_values<C>(gemm.m * gemm.ldc, 3);
  auto c = before;
  gemm.lda = gemm.k;
  gemm.strip = strip_pairs(gemm.k);
  if (with_bias) gemm.bias = bias.data();
  gemm(a.data(), b_pairs.data(), c.data());
  double worst = 0, largest = 1;
  for (Dim r = 0; r < gemm.m; ++r) {
    for (Dim col = 0; col < gemm.ldc; ++col) {
      const double got = at(c, r * gemm.ldc + col);
      double expected = at(before, r * gemm.ldc + col);
      if (col < gemm.n) {
        if (!gemm.accumulate) expected = 0;
        if (with_bias) expected += at(bias, col);
        for (Dim k = 0; k < gemm.k; ++k) expected += at(a, r * gemm.k + k) * at(b, k * (gemm.n + 3) + col);
      } else if (got != expected) {
        return INFINITY;
      }
      if (std::isnan(got)) return INFINITY;
      worst = std::max(worst, std::abs(got - expected));
      largest = std::max(largest, std::abs(expected));
    }
  }
  return worst / largest;
}

}  // namespace

TEMPLATE_TEST_CASE("pair_gemm equals a naive product for every shape, by AVX-512 and by AMX, accumulating and with a bias",
                   "[kernels]", float, bfloat16) {
  if (!has_instructions()) return;
  const double tolerance = std::is_same_v<TestType, float> ? 2e-6 : 4e-3;
  for (const int amx : ways()) {
    const UseAmx use(amx != 0);
    for (const Dim m : {0, 1, 3, 4, 7, 13, 16, 17, 24, 32, 65}) {
      for (const Dim n : {0, 1, 7, 8, 9, 16, 17, 31, 40, 48, 64, 65, 72, 100}) {
        for (const Dim k : {0, 1, 2, 5, 32, 64, 259}) {
          for (const auto& [accumulate, bias] : {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
            const PairGemm gemm{.m = m, .n = n, .k = k, .ldc = n + 2, .accumulate = accumulate};
            const double error = product_error<TestType>(gemm, bias);
            INFO("m " << m << " n " << n << " k " << k << " amx " << amx << " accumulate " << accumulate << " bias " << bias);
            if (!(error <= tolerance)) FAIL("error " << error);
          }
        }
      }
    }
  }
}

TEST_CASE("pair_gemm gives an element the same bits in products of any size", "[kernels]") {
  if (!has_instructions()) return;
  const UseAmx use(GENERATE(from_range(ways())) != 0);
  constexpr Dim kRows = 37, kColumns = 70, kInner = 500;
  const auto a = normal_values<bfloat16>(kRows * kInner, 1), b = normal_values<bfloat16>(kInner * kColumns, 2);
  const auto pairs = packed(b, kColumns, kInner, kColumns);
  const auto product = [&](Dim m, Dim n) {
    std::vector<float> c(static_cast<std::size_t>(m * n));
    PairGemm{.m = m, .n = n, .k = kInner, .lda = kInner, .strip = strip_pairs(kInner), .ldc = n}(a.data(), pairs.data(), c.data());
    return c;
  };
  const auto whole = product(kRows, kColumns);
  for (const Dim m : {1, 2, 5, 30}) {
    for (const Dim n : {1, 8, 17, 63}) {
      const auto part = product(m, n);
      for (Dim r = 0; r < m; ++r) {
        for (Dim col = 0; col < n; ++col) {
          INFO("m " << m << " n " << n << " at " << r << ", " << col);
          if (at(part, r * n + col) != at(whole, r * kColumns + col)) FAIL();
        }
      }
    }
  }
}

TEST_CASE("pair_gemm reads nothing beyond the rows of A", "[kernels]") {
  if (!has_instructions()) return;
  const UseAmx use(GENERATE(from_range(ways())) != 0);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), size = 4 * page;
  void* const memory = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const end = reinterpret_cast<bfloat16*>(static_cast<std::byte*>(memory) + size);
  REQUIRE(mprotect(end, page, PROT_NONE) == 0);  // to read there ends the program
  for (const Dim m : {1, 15, 17, 31, 33, 65}) {
    for (const Dim k : {1, 31, 33, 64}) {
      bfloat16* const a = end - m * k;
      std::fill(a, end, bfloat16(1.0f));
      const std::vector<bfloat16> b(static_cast<std::size_t>(k * 20), bfloat16(1.0f));
      std::vector<float> c(static_cast<std::size_t>(m * 20));
      const PairGemm gemm{.m = m, .n = 20, .k = k, .lda = k, .strip = strip_pairs(k), .ldc = 20};
      gemm(a, packed(b, 20, k, 20).data(), c.data());
      CHECK(std::all_of(c.begin(), c.end(), [&](float value) { return value == static_cast<float>(k); }));
    }
  }
  munmap(memory, size + page);
}

TEST_CASE("pairs are packed by rows and by columns, in strips and with zeros beyond, and rows are transposed", "[kernels]") {
  if (!has_instructions()) return;
  for (const Shape& shape : {Shape{1, 1}, Shape{2, 16}, Shape{5, 17}, Shape{16, 31}, Shape{17, 32}, Shape{33, 70}}) {
    CAPTURE(shape);
    const Dim rows = shape[0], columns = shape[1], ld = columns + 3;
    const auto values = normal_values<float>(rows * ld, 5);
    const auto rounded = normal_values<bfloat16>(rows * ld, 5);
    const auto value = [&](Dim r, Dim c) -> Pair {
      return r < rows && c < columns ? rounded[static_cast<std::size_t>(r * ld + c)].bits : 0;
    };
    const auto mismatches = [](const std::vector<Pair>& pairs, Dim k, const auto& expected) {
      Dim count = 0;
      for (Dim i = 0; i < static_cast<Dim>(pairs.size()); ++i) {
        const Dim strip = i / strip_pairs(k), pair = i % strip_pairs(k) / kPairLanes, column = strip * kPairLanes + i % kPairLanes;
        count += pairs[static_cast<std::size_t>(i)] != expected(pair, column);
      }
      return count;
    };
    CHECK(mismatches(packed(rounded, ld, rows, columns), rows,
                     [&](Dim i, Dim c) { return value(2 * i, c) | value(2 * i + 1, c) << 16; }) == 0);
    std::vector<Pair> pairs(static_cast<std::size_t>(packed_pairs(columns, rows)), ~Pair{0});
    pack_pairs_transposed(rounded.data(), ld, rows, columns, pairs.data());
    CHECK(mismatches(pairs, columns, [&](Dim i, Dim r) { return value(r, 2 * i) | value(r, 2 * i + 1) << 16; }) == 0);

    const Dim ld_to = rows + 2;
    const auto check_transposed = [&](const auto& from) {
      std::vector<bfloat16> to(static_cast<std::size_t>(columns * ld_to), bfloat16(-1.0f));
      round_transposed(from.data(), ld, to.data(), ld_to, rows, columns);
      Dim wrong = 0;
      for (Dim i = 0; i < columns * ld_to; ++i) {
        const Dim r = i % ld_to;
        const Pair expected = r < rows ? value(r, i / ld_to) : bfloat16(-1.0f).bits;
        wrong += to[static_cast<std::size_t>(i)].bits != expected;
      }
      CHECK(wrong == 0);
    };
    check_transposed(values);
    check_transposed(rounded);
  }
}

TEST_CASE("rows are scaled and rounded, and nothing beyond them is written", "[kernels]") {
  if (!has_instructions()) return;
  constexpr Dim kRows = 3, kColumns = 37, kFrom = 40, kTo = 39;
  const auto from = normal_values<float>(kRows * kFrom, 6);
  std::vector<bfloat16> to(kRows * kTo, bfloat16(-1.0f));
  round_rows(from.data(), kFrom, to.data(), kTo, kRows, kColumns, 0.3f);
  for (Dim r = 0; r < kRows; ++r) {
    for (Dim c = 0; c < kTo; ++c) {
      const float expected = c < kColumns ? 0.3f * from[static_cast<std::size_t>(r * kFrom + c)] : -1.0f;
      CHECK(to[static_cast<std::size_t>(r * kTo + c)].bits == bfloat16(expected).bits);
    }
  }
}
