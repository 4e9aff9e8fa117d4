#include "data/prefetch.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

struct Counting {
  std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
  std::vector<std::int64_t> at(std::int64_t step) const {
    ++*calls;
    if (step == 13) throw Error("step 13");
    return {step, step * step};
  }
};
using Batch = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("prefetch_gives_the_loaders_batches", "[data]") {
  Prefetch<Counting> batches(Counting{}, 3);
  for (std::int64_t step = 3; step < 12; ++step) REQUIRE(batches.at(step) == Batch{step, step * step});
  // Backwards, forwards and again.
  for (const std::int64_t step : {5, 100, 101, 7, 7, 8})
    REQUIRE(batches.at(step) == Batch{step, step * step});
}

TEST_CASE("prefetch_works_ahead_but_not_further_than_its_depth", "[data]") {
  const Counting loader;
  Prefetch<Counting> batches(loader, 0, 1000, 3);
  REQUIRE(batches.at(0) == Batch{0, 0});
  for (int wait = 0; wait < 2000 && *loader.calls < 4; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  REQUIRE(*loader.calls == 4);  // the batch taken and three ahead
}

TEST_CASE("prefetch_stops_at_the_end", "[data]") {
  const Counting loader;
  {
    Prefetch<Counting> batches(loader, 0, 2, 5);
    REQUIRE(batches.at(0) == Batch{0, 0});
    REQUIRE(batches.at(1) == Batch{1, 1});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(*loader.calls == 2);
    REQUIRE(batches.at(2) == Batch{2, 4});  // not ahead, but the same batch
  }
  REQUIRE(*loader.calls == 3);
}

TEST_CASE("prefetch_hands_on_exceptions_at_their_step", "[data]") {
  Prefetch<Counting> batches(Counting{}, 12);
  REQUIRE(batches.at(12) == Batch{12, 144});
  REQUIRE_THROWS_AS(batches.at(13), Error);
  REQUIRE(batches.at(14) == Batch{14, 196});
  REQUIRE_THROWS_AS(batches.at(13), Error);
}

TEST_CASE("prefetch_can_be_destroyed_at_any_time", "[data]") {
  for (int i = 0; i < 50; ++i) {
    Prefetch<Counting> batches(Counting{}, 0);
    if (i % 2 == 1) REQUIRE(batches.at(20 + i) == Batch{20 + i, (20 + i) * (20 + i)});
  }
}

}  // namespace ashlar::data
