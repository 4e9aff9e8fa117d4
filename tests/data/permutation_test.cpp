#include "data/permutation.h"

#include <cmath>
#include <vector>

#include "tests/support/catch.h"

namespace ashlar::data {

TEST_CASE("a_permutation_takes_every_value_once", "[data]") {
  for (const std::uint64_t count : {1u, 2u, 3u, 4u, 5u, 7u, 16u, 17u, 97u, 256u, 1000u, 4099u}) {
    for (std::uint64_t stream = 0; stream < 5; ++stream) {
      const Permutation order(count, 42, stream);
      std::vector<int> seen(count, 0);
      for (std::uint64_t i = 0; i < count; ++i) {
        REQUIRE(order(i) < count);
        ++seen[order(i)];
      }
      REQUIRE(seen == std::vector<int>(count, 1));
    }
  }
}

TEST_CASE("permutations_of_large_sets_are_invertible_in_the_upper_bits_too", "[data]") {
  const std::uint64_t count = (std::uint64_t{1} << 40) + 12345;
  const Permutation order(count, 1, 0);
  std::uint64_t largest = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    REQUIRE(order(i) < count);
    REQUIRE(order(i) != order(i + 1));
    largest = std::max(largest, order(i));
  }
  REQUIRE(largest > count / 100 * 98);
}

TEST_CASE("a_position_takes_all_values_equally_often_over_the_streams", "[data]") {
  constexpr std::uint64_t kCount = 11, kStreams = 11000;
  for (const std::uint64_t position : {0u, 1u, 10u}) {
    std::vector<double> seen(kCount, 0);
    for (std::uint64_t stream = 0; stream < kStreams; ++stream)
      ++seen[Permutation(kCount, 5, stream)(position)];
    double chi_square = 0;
    for (const double times : seen) chi_square += (times - 1000) * (times - 1000) / 1000;
    REQUIRE(chi_square <= 35);  // 10 degrees of freedom: exceeded with probability 1e-4
  }
}

}  // namespace ashlar::data
