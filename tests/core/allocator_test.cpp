// The caching allocator: counters, reuse, alignment, the end of the memory.
#include "core/allocator.h"

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/array.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::testing;

namespace {

// A system with `limit` bytes that counts what it gave out.
struct System {
  static inline std::size_t limit = 0, used = 0;
  static inline int requests = 0;
};

std::unique_ptr<Allocator> allocator_on(std::size_t limit) {
  System::limit = limit;
  System::used = 0;
  System::requests = 0;
  return make_caching_allocator(
      {[](std::size_t bytes) -> MemoryBlock {
         ++System::requests;
         if (System::used + bytes > System::limit) return {};
         System::used += bytes;
         return {std::aligned_alloc(64, bytes), bytes};
       },
       [](MemoryBlock block) {
         System::used -= block.bytes;
         std::free(block.data);
       }},
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

TEST_CASE("when memory ends, the cache is given back and the request tried again") {
  const auto memory = allocator_on(1 << 20);
  memory->release(memory->allocate(900 << 10));
  const MemoryBlock big = memory->allocate(1 << 20);
  CHECK(memory->stats().cached == 0);
  const std::string message = error_of<Error>([&] { memory->allocate(64); });
  CHECK(contains(message, "test memory: out of memory"));
  CHECK(contains(message, "smaller batch"));
  CHECK(memory->stats().current == 1 << 20);
  memory->release(big);
}

TEST_CASE("a request too large to be rounded up is out of memory, not a small block") {
  const auto memory = allocator_on(1 << 20);
  CHECK(contains(error_of<Error>([&] { memory->allocate(SIZE_MAX); }), "out of memory"));
}

TEST_CASE("blocks are aligned to 64 bytes, empty ones too") {
  for (const std::size_t bytes : {0u, 1u, 63u, 65u, 4097u}) {
    const MemoryBlock block = allocator().allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block.data) % 64 == 0);
    CHECK(block.bytes >= std::max<std::size_t>(bytes, 1));
    allocator().release(block);
  }
}

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
      const auto pool = make_pool({});
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

TEST_CASE("the innermost pool is used, and only on its device") {
  const auto outer = make_pool({}), inner = make_pool({});
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
