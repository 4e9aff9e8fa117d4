// The caching allocator: counters, reuse, alignment, the end of the memory.
#include "core/allocator.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "core/array.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// A system with `limit` bytes that counts what it gave out.
struct System {
  static inline std::size_t limit = 0, used = 0;
  static inline int requests = 0;
};

std::unique_ptr<Allocator> allocator_on(std::size_t limit, bool overcommits = false) {
  System::limit = limit;
  System::used = 0;
  System::requests = 0;
  return std::make_unique<Allocator>(
      RawMemory{[](std::size_t bytes) -> MemoryBlock {
                  ++System::requests;
                  if (System::used + bytes > System::limit) return {};
                  System::used += bytes;
                  return {std::aligned_alloc(64, bytes), bytes};
                },
                [](MemoryBlock block) {
                  System::used -= block.bytes;
                  std::free(block.data);
                },
                overcommits},
      "test memory");
}

}  // namespace

TEST_CASE("counters follow allocations and releases") {
  const auto memory = allocator_on(1 << 20);
  const MemoryBlock a = memory->allocate(1000), b = memory->allocate(64);
  CHECK(a.bytes == 1024);
  CHECK(memory->stats().current == 1088);
  CHECK(memory->stats().peak == 1088);
  memory->release(a);
  CHECK(memory->stats().current == 64);
  CHECK(memory->stats().cached == 1024);
  CHECK(memory->stats().peak == 1088);
  memory->reset_peak();
  CHECK(memory->stats().peak == 64);
  memory->trim();
  CHECK(memory->stats().cached == 0);
  CHECK(System::used == 64);
  memory->release(b);
}

TEST_CASE("a freed block is handed out again, but not for a much smaller request") {
  const auto memory = allocator_on(1 << 28);
  const MemoryBlock a = memory->allocate(1 << 20);
  memory->release(a);
  const MemoryBlock again = memory->allocate((1 << 20) - 100);
  CHECK(again.data == a.data);
  CHECK(System::requests == 1);
  memory->release(again);
  const MemoryBlock small = memory->allocate(1 << 19);
  CHECK(small.data != a.data);
  CHECK(System::requests == 2);
  memory->release(small);
}

TEST_CASE("the smallest block that fits is taken") {
  const auto memory = allocator_on(1 << 28);
  const MemoryBlock large = memory->allocate(1100 << 10), fitting = memory->allocate(1030 << 10);
  memory->release(large);
  memory->release(fitting);
  const MemoryBlock taken = memory->allocate(1 << 20);
  CHECK(taken.data == fitting.data);
  memory->release(taken);
}

TEST_CASE("where memory is promised that is not there, sizes that keep rising leave no block of each behind") {
  const auto memory = allocator_on(1 << 28, true);
  // As the attention of a context that grows by one token at a time, beside what stays as it is.
  const MemoryBlock kept = memory->allocate(1 << 16);
  for (std::size_t tokens = 64; tokens < 512; ++tokens) {
    const MemoryBlock scores = memory->allocate(tokens * tokens * 4), weights = memory->allocate(tokens * tokens * 4);
    memory->release(scores);
    memory->release(weights);
    const MemoryStats stats = memory->stats();
    REQUIRE(stats.current + stats.cached <= 2 * stats.peak);
    REQUIRE(System::used == stats.current + stats.cached);
  }
  memory->release(kept);
}

TEST_CASE("where memory is promised that is not there, a step that repeats finds all its blocks again") {
  const auto memory = allocator_on(1 << 28, true);
  const auto step = [&] {
    std::vector<MemoryBlock> blocks;
    for (std::size_t bytes = 1 << 10; bytes <= 1 << 20; bytes *= 2) blocks.push_back(memory->allocate(bytes));
    for (const MemoryBlock& block : blocks) memory->release(block);
  };
  step();
  const int first = System::requests;
  for (int i = 0; i < 3; ++i) step();
  CHECK(System::requests == first);
  // All together may be twice the peak: for the last block those below 1 MiB, which were free for longest, have to go.
  const MemoryBlock large = memory->allocate(3 << 20);
  CHECK(memory->stats().cached == (2 << 20) - (1 << 10));
  memory->release(large);
  const MemoryBlock larger = memory->allocate(4 << 20);
  CHECK(memory->stats().cached == (1 << 20) + (3 << 20));
  CHECK(System::used == 8 << 20);
  memory->release(larger);
}

TEST_CASE("only where memory is promised that is not there, what was free for longest is given back") {
  for (const bool overcommits : {false, true}) {
    const auto memory = allocator_on(1 << 20, overcommits);
    for (const std::size_t bytes : {64u << 10, 48u << 10, 32u << 10}) memory->release(memory->allocate(bytes));
    CHECK(memory->stats().cached == (overcommits ? 80u << 10 : 144u << 10));
  }
}

TEST_CASE("a thread is given a block that it had before, and another's only if there is none") {
  const auto allocator = allocator_on(1 << 20);
  std::array<MemoryBlock, 4> blocks;
  for (MemoryBlock& block : blocks) block = allocator->allocate(640);
  // By address, every other block is the other thread's.
  std::ranges::sort(blocks, {}, [](const MemoryBlock& block) { return reinterpret_cast<std::uintptr_t>(block.data); });
  std::promise<void> released, checked;
  std::vector<void*> others;
  std::thread other([&] {
    allocator->release(blocks[0]);
    allocator->release(blocks[2]);
    released.set_value();
    checked.get_future().wait();
    for (int i = 0; i < 2; ++i) others.push_back(allocator->allocate(640).data);
  });
  released.get_future().wait();
  allocator->release(blocks[1]);
  allocator->release(blocks[3]);
  const MemoryBlock first = allocator->allocate(640), second = allocator->allocate(640);
  CHECK(first.data == blocks[1].data);
  CHECK(second.data == blocks[3].data);
  allocator->release(allocator->allocate(640));  // one of the other's, which is then this thread's
  CHECK(allocator->stats().current == 2 * 640);
  checked.set_value();
  other.join();
  CHECK(others == std::vector<void*>{blocks[2].data, blocks[0].data});
  CHECK(System::requests == 4);
  for (const MemoryBlock& block : blocks) allocator->release(block);
}

TEST_CASE("a thread's own block is taken before a smaller one of another thread") {
  // Both ways, so that whichever thread comes first in the allocator's order asks once.
  const auto allocator = allocator_on(1 << 20);
  for (const bool main_asks : {true, false}) {
    CAPTURE(main_asks);
    allocator->trim();
    const MemoryBlock larger = allocator->allocate(704), exact = allocator->allocate(640);
    MemoryBlock given;
    allocator->release(main_asks ? larger : exact);
    std::promise<void> released, asked;
    std::thread other([&] {
      allocator->release(main_asks ? exact : larger);
      if (!main_asks) given = allocator->allocate(640);
      released.set_value();
      asked.get_future().wait();
    });
    released.get_future().wait();
    if (main_asks) given = allocator->allocate(640);
    asked.set_value();
    other.join();
    CHECK(given.data == larger.data);
    allocator->release(given);
  }
}

TEST_CASE("when memory ends, the cache is given back and the request tried again") {
  const auto memory = allocator_on(1 << 20);
  memory->release(memory->allocate(900 << 10));
  const MemoryBlock big = memory->allocate(1 << 20);
  CHECK(memory->stats().cached == 0);
  const std::string message = error_of<Error>([&] { memory->allocate(64); });
  CHECK(contains(message, "test memory: out of memory"));
  CHECK(contains(message, "in use 1048576, peak 1048576"));
  CHECK(contains(message, "smaller batch"));
  CHECK(memory->stats().current == 1 << 20);
  memory->release(big);
}

TEST_CASE("a request too large to be rounded up is out of memory, not a small block") {
  const auto memory = allocator_on(1 << 20);
  CHECK(contains(error_of<OutOfMemory>([&] { memory->allocate(SIZE_MAX); }), "out of memory"));
}

TEST_CASE("blocks are aligned to 64 bytes, empty ones too") {
  for (const std::size_t bytes : {0u, 1u, 63u, 65u, 4097u}) {
    const MemoryBlock block = allocator().allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block.data) % 64 == 0);
    CHECK(block.bytes >= std::max<std::size_t>(bytes, 1));
    allocator().release(block);
  }
}

#if defined(__linux__)
TEST_CASE("large blocks begin where a huge page can") {
  const MemoryBlock block = allocator().allocate((std::size_t{2} << 20) + 64);
  CHECK(reinterpret_cast<std::uintptr_t>(block.data) % (std::size_t{2} << 20) == 0);
  allocator().release(block);
}
#endif

TEST_CASE("arrays return their memory with the last view of it") {
  const std::size_t before = allocator().stats().current;
  {
    Array view;
    {
      const Array whole = Array::zeros({1000});
      view = whole.slice(0, 10, 20);
      CHECK(allocator().stats().current >= before + 4000);
    }
    CHECK(allocator().stats().current >= before + 4000);
  }
  CHECK(allocator().stats().current == before);
}

TEST_CASE("memory of a device that this build or machine does not have is refused") {
  CHECK(contains(error_of([] { allocator({DeviceType::cuda, 99}); }), "cuda:99"));
  CHECK(Device::parse("cpu") == Device{});
  CHECK(contains(error_of([] { Device::parse("cuda:99"); }), "'cuda:99'"));
  CHECK(contains(error_of([] { Device::parse("gpu"); }), "'gpu'"));
}

TEST_CASE("arrays made in a pool have memory of its own, which goes back when the last of them does") {
  const MemoryStats before = allocator().stats();
  void* first = nullptr;
  {
    Array survivor;
    {
      const auto pool = make_pool(allocator());
      const UsePool use({}, pool);
      first = Array::empty({1000}).data<float>();
      // What is free in the pool is handed out again there …
      survivor = Array::empty({1000});
      CHECK(survivor.data<float>() == first);
      CHECK(UsePool::current({}) == pool);
      CHECK(pool->stats().current >= 4000);
    }
    CHECK(UsePool::current({}) == nullptr);
    // … and not outside.
    CHECK(Array::empty({1000}).data<float>() != first);
    CHECK(allocator().stats().current >= before.current + 4000);
  }
  CHECK(allocator().stats().current == before.current);
}

TEST_CASE("a pool keeps its free blocks when memory ends, and the memory under it gives its own back") {
  const auto memory = allocator_on(1 << 20);
  {
    const auto pool = make_pool(*memory);
    const MemoryBlock block = pool->allocate(1 << 19);
    pool->release(block);
    memory->release(memory->allocate(1 << 18));
    CHECK(contains(error_of<Error>([&] { pool->allocate((1 << 19) + (1 << 17)); }), "test memory: out of memory"));
    CHECK(pool->stats().cached == 1 << 19);
    CHECK(memory->stats().cached == 0);
    CHECK(System::used == 1 << 19);
    pool->release(pool->allocate(1 << 19));
    pool->trim();
    CHECK(memory->stats().cached == 1 << 19);
  }
  CHECK(memory->stats().current == 0);
}

TEST_CASE("the innermost pool is used, and only on its device") {
  const auto outer = make_pool(allocator()), inner = make_pool(allocator());
  const UsePool use_outer({}, outer);
  {
    const UsePool use_inner({}, inner), elsewhere({DeviceType::cuda, 7}, outer);
    const Array array = Array::empty({100});
    CHECK(inner->stats().current >= 400);
    CHECK(outer->stats().current == 0);
  }
  const Array array = Array::empty({100});
  CHECK(outer->stats().current >= 400);
}
