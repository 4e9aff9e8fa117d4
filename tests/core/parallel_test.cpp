// Loops over threads: everything is visited once, errors arrive, sums do not depend on the number of threads.
#include "core/parallel.h"

#include <vector>

#include "core/random.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("every loop visits each item exactly once") {
  for (const int threads : {1, 2, 3}) {
    const ThreadCount set(threads);
    for (const Dim count : {0, 1, 2, 3, 7, 1009}) {
      for (const Dim grain : {0, 5, 2000}) {
        INFO("threads " << threads << " count " << count << " grain " << grain);
        std::vector<int> visits(static_cast<std::size_t>(count), 0);
        const auto visit = [&](Dim begin, Dim end) {
          for (Dim i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        };
        const auto all_are = [&](int expected) { return std::ranges::count(visits, expected) == count; };
        parallel_for(count, grain, visit);
        CHECK(all_are(1));
        parallel_items(count, [&](Dim item) { visit(item, item + 1); });
        CHECK(all_are(2));
        parallel_chunks(count, 16, grain, [&](Dim, Dim begin, Dim end) { visit(begin, end); });
        CHECK(all_are(3));
      }
    }
  }
}

TEST_CASE("each thread has one worker, which no other uses") {
  for (const int threads : {1, 3}) {
    const ThreadCount set(threads);
    for (const Dim count : {0, 1, 100}) {
      std::atomic<Dim> made = 0, items = 0, strange = 0;
      parallel_workers(count, [&] {
        ++made;
        return [&, owner = omp_get_thread_num()](Dim) {
          ++items;
          strange += owner != omp_get_thread_num();
        };
      });
      CHECK(items == count);
      CHECK(made == std::min<Dim>(threads, count));
      CHECK(strange == 0);
    }
  }
}

TEST_CASE("parallel_for gives no thread less than the grain") {
  const ThreadCount set(4);
  for (const Dim count : {3, 8, 15, 100}) {
    parallel_for(count, 5, [&](Dim begin, Dim end) {
      if (end - begin < std::min<Dim>(5, count)) throw Error("a range is too short");
    });
  }
}

TEST_CASE("an exception in a loop reaches the caller, from any thread") {
  for (const int threads : {1, 2}) {
    const ThreadCount set(threads);
    for (const Dim bad : {0, 99}) {
      const auto fail = [&](Dim i) { ASHLAR_CHECK(i != bad, "item ", i); };
      const std::string expected = concat("item ", bad);
      CHECK(error_of([&] { parallel_items(100, fail); }) == expected);
      const auto refuse = [&] {
        ASHLAR_CHECK(bad < 0, "no worker");
        return fail;
      };
      CHECK(error_of([&] { parallel_workers(100, refuse); }) == "no worker");
      const auto range = [&](Dim begin, Dim end) {
        for (Dim i = begin; i < end; ++i) fail(i);
      };
      CHECK(error_of([&] { parallel_for(100, 1, range); }) == expected);
      CHECK(error_of([&] { parallel_chunks(100, 8, 1, [&](Dim, Dim b, Dim e) { range(b, e); }); }) == expected);
    }
  }
}

TEST_CASE("chunks and the sum over them do not depend on the number of threads") {
  const Random random(1);
  const Dim count = 10'007;
  std::vector<float> sums;
  for (const int threads : {1, 2, 3}) {
    const ThreadCount set(threads);
    std::vector<float> partial(32, 0.0f);
    const Dim chunks = parallel_chunks(count, 32, 100, [&](Dim chunk, Dim begin, Dim end) {
      for (Dim i = begin; i < end; ++i) {
        partial[static_cast<std::size_t>(chunk)] += random.uniform(static_cast<std::uint64_t>(i));
      }
    });
    CHECK(chunks == 32);
    float sum = 0;
    for (const float part : partial) sum += part;
    sums.push_back(sum);
  }
  CHECK(sums[0] == sums[1]);
  CHECK(sums[0] == sums[2]);
  CHECK(parallel_chunks(250, 32, 100, [](Dim, Dim, Dim) {}) == 2);
}

TEST_CASE("loops inside loops run on one thread") {
  const ThreadCount set(2);
  std::vector<int> inside(2, 0);
  parallel_for(2, 1, [&](Dim begin, Dim) { inside[static_cast<std::size_t>(begin)] = num_threads(); });
  CHECK(inside == std::vector<int>{1, 1});
}

TEST_CASE("a number of threads below one is refused") {
  CHECK(contains(error_of([] { set_num_threads(0); }), "at least 1"));
}
