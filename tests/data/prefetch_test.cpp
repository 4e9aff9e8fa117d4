#include "data/prefetch.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

namespace ashlar::data {
namespace {

struct Counting {
  std::shared_ptr<std::atomic<int>> begun = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<int>> finished = std::make_shared<std::atomic<int>>(0);
  std::int64_t slow_from = INT64_MAX;  // step
  std::vector<std::int64_t> at(std::int64_t step) const {
    ++*begun;
    if (step == 13) throw Error("step 13");
    if (step >= slow_from) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ++*finished;
    return {step, step * step};
  }
};
using Batch = std::vector<std::int64_t>;

// Whether that many batches have been begun, after two seconds at most.
bool has_begun(const Counting& loader, int count) {
  for (int wait = 0; wait < 2000 && *loader.begun < count; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return *loader.begun == count;
}

}  // namespace

TEST_CASE("prefetch_gives_the_loaders_batches", "[data]") {
  Prefetch<Counting> batches(Counting{});
  for (std::int64_t step = 3; step < 12; ++step) REQUIRE(batches.at(step) == Batch{step, step * step});
  // Backwards, forwards and again.
  for (const std::int64_t step : {5, 100, 101, 7, 7, 8})
    REQUIRE(batches.at(step) == Batch{step, step * step});
}

TEST_CASE("prefetch_works_two_batches_ahead_and_no_further", "[data]") {
  const Counting loader;
  Prefetch<Counting> batches(loader);
  for (std::int64_t step = 0; step < 3; ++step) {
    REQUIRE(batches.at(step) == Batch{step, step * step});
    const int expected = static_cast<int>(step) + 3;  // the batches taken and two more
    REQUIRE(has_begun(loader, expected));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(*loader.begun == expected);
  }
}

TEST_CASE("prefetch_hands_on_exceptions_at_their_step", "[data]") {
  Prefetch<Counting> batches(Counting{});
  REQUIRE(batches.at(12) == Batch{12, 144});
  REQUIRE_THROWS_AS(batches.at(13), Error);
  REQUIRE(batches.at(14) == Batch{14, 196});
  REQUIRE_THROWS_AS(batches.at(13), Error);
}

TEST_CASE("prefetch_can_be_destroyed_at_any_time", "[data]") {
  for (int i = 0; i < 50; ++i) {
    Prefetch<Counting> batches(Counting{});
    if (i % 2 == 1) REQUIRE(batches.at(20 + i) == Batch{20 + i, (20 + i) * (20 + i)});
  }
  Counting loader;
  loader.slow_from = 1;
  {
    Prefetch<Counting> batches(loader);
    REQUIRE(batches.at(0) == Batch{0, 0});
    REQUIRE(has_begun(loader, 3));
  }
  REQUIRE(*loader.finished == 3);  // no thread outlives it
}

}  // namespace ashlar::data
