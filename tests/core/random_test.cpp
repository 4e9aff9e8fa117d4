// Random numbers that are pure functions of (key, stream, index).
#include "core/random.h"

#include <array>
#include <cmath>
#include <set>

#include "tests/support/catch.h"

using namespace ashlar;

TEST_CASE("Philox4x32-10 gives the known answers of its authors") {
  // kat_vectors of Random123 (D. E. Shaw Research).
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, ~std::uint64_t{0}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("keys differ with the seed and with every character of the path") {
  std::set<std::uint64_t> keys;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    for (const char* path : {"", "a", "b", "ab", "ba", "blocks.0.fc1", "blocks.1.fc1", "blocks.0.fc2"}) {
      keys.insert(key_of(seed, path));
    }
  }
  CHECK(keys.size() == 64);
  CHECK(key_of(1, "a") != key_of(std::uint64_t{1} << 56, "a"));
}

TEST_CASE("index, stream and key each choose other numbers, the same ones each time") {
  const Random random(5, 7);
  for (std::uint64_t i : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5}, std::uint64_t{1} << 40}) {
    CHECK(random.bits(i) == Random(5, 7).bits(i));
    CHECK(random.bits(i) == random.block(i / 4)[i % 4]);
    CHECK(random.bits(i) != Random(6, 7).bits(i));
    CHECK(random.bits(i) != Random(5, 8).bits(i));
    CHECK(random.bits(i) != Random(5, 7 + (std::uint64_t{1} << 32)).bits(i));
    CHECK(random.bits(i) != random.bits(i + (std::uint64_t{1} << 34)));
  }
}

TEST_CASE("uniform numbers lie in [0, 1) with the right moments") {
  const Random random(key_of(0, "uniform"));
  const int count = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const float u = random.uniform(static_cast<std::uint64_t>(i));
    REQUIRE((u >= 0.0f && u < 1.0f));
    sum += u;
    squares += static_cast<double>(u) * u;
  }
  // Five standard errors: 5 · sqrt(1/12 / count), 5 · sqrt(4/45 / count).
  CHECK(std::abs(sum / count - 0.5) < 0.0046);
  CHECK(std::abs(squares / count - 1.0 / 3) < 0.0047);
}

TEST_CASE("normal numbers have the moments of a normal distribution and do not repeat each other") {
  const Random random(key_of(0, "normal"));
  const int count = 100'000;
  double moment[5] = {}, neighbours = 0, previous = 0;
  for (int i = 0; i < count; ++i) {
    const double z = random.normal(static_cast<std::uint64_t>(i));
    REQUIRE(std::isfinite(z));
    for (int k = 1; k <= 4; ++k) moment[k] += std::pow(z, k) / count;
    neighbours += z * previous / count;
    previous = z;
  }
  CHECK(std::abs(moment[1]) < 0.016);      // 5 / sqrt(count)
  CHECK(std::abs(moment[2] - 1) < 0.023);  // 5 · sqrt(2 / count)
  CHECK(std::abs(moment[3]) < 0.062);      // 5 · sqrt(15 / count)
  CHECK(std::abs(moment[4] - 3) < 0.16);   // 5 · sqrt(96 / count)
  CHECK(std::abs(neighbours) < 0.016);
}

TEST_CASE("below(count) reaches every value below count and no other") {
  const Random random(3);
  for (const std::uint32_t count : {1u, 2u, 7u, 1000u}) {
    std::set<std::uint32_t> seen;
    for (std::uint64_t i = 0; i < 20'000; ++i) seen.insert(random.below(i, count));
    CHECK(seen.size() == count);
    CHECK(*seen.rbegin() == count - 1);
  }
}
