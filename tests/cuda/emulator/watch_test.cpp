// What is seen of a kernel's accesses in a build with ASHLAR_EMULATED_WATCH; other builds have nothing to test here.
#include "tests/cuda/emulator/watch.h"

#include <cuda_runtime.h>

#include "kernels/ptx.cuh"
#include "tests/cuda/emulator/support.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::emulated::testing;
using ashlar::test::contains;

namespace {

float* shared_values() { return reinterpret_cast<float*>(emulated::dynamic_shared()); }

// What is said of a kernel with an argument, for which 4 KiB of shared memory are cleared before it begins.
template <class Body, class... Args>
std::string fault_of(unsigned blocks, unsigned threads, Body body, Args... args) {
  return error_of([&] {
    const auto kernel = [body](const auto&... values) {
      for (unsigned i = threadIdx.x; i < 1024; i += blockDim.x) shared_values()[i] = 0;
      __syncthreads();
      body(values...);
    };
    emulated::Launch("a kernel", dim3(blocks), dim3(threads), 4096, nullptr, kernel)(args...);
  });
}

}  // namespace

TEST_CASE("threads that nothing orders race", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const auto own_write = [] { shared_values()[threadIdx.x] = 1; };
  const auto next_read = [] { return shared_values()[(threadIdx.x + 1) % blockDim.x]; };
  const Values<float> seen(64);
  const auto fault = [&](auto body) { return fault_of(1, 64, body, seen.data); };
  const std::string written = fault([=](float* to) { own_write(), to[threadIdx.x] = next_read(); });
  CHECK(contains(written, "a kernel, block (0, 0, 0): watch_test.cpp:"));
  CHECK(contains(written, "nothing orders the two"));
  CHECK(contains(fault([=](float* to) { to[threadIdx.x] = next_read(), own_write(); }), "reads"));
  CHECK(fault([=](float* to) { own_write(), __syncthreads(), to[threadIdx.x] = next_read(); }) == "");
  CHECK(contains(fault_of(1, 2, [] { shared_values()[0] = 1; }), "writes what thread"));
  // All read what one writes then: the race is not with the one that read last.
  const auto all_read = [](float* to) {
    to[threadIdx.x] = shared_values()[0];
    if (threadIdx.x == blockDim.x - 1) shared_values()[0] = 2;
  };
  std::string of_warp, of_block;  // in both orders of the threads
  for (int run = 0; run < 4; ++run) {
    of_warp += fault_of(1, 32, all_read, Values<float>(32).data);
    of_block += fault_of(1, 64, all_read, Values<float>(64).data);
  }
  CHECK(contains(of_warp, "other lanes of a warp reads"));
  CHECK(contains(of_block, "other warps reads"));
}

TEST_CASE("a warp is ordered by __syncwarp() alone", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const auto reverse = [](float* to, auto meet, unsigned mirror) {
    shared_values()[threadIdx.x] = 1;
    meet();
    to[threadIdx.x] = shared_values()[threadIdx.x ^ mirror];
  };
  const Values<float> to(64);
  const auto sync = [] { __syncwarp(); };
  const auto shuffle = [] { __shfl_xor_sync(~0u, 1, 1); };
  CHECK(fault_of(1, 64, [=](float* data) { reverse(data, sync, 31); }, to.data) == "");
  CHECK(contains(fault_of(1, 64, [=](float* data) { reverse(data, sync, 63); }, to.data), "nothing orders"));
  CHECK(contains(fault_of(1, 64, [=](float* data) { reverse(data, shuffle, 31); }, to.data), "nothing orders"));
}

TEST_CASE("blocks of a launch are ordered by nothing, launches are", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const Values<float> total(std::vector<float>{0, 0});
  const auto one_writes = [](float* to) {
    if (blockIdx.x == 0) to[0] = 1;
    else to[1] = to[0];
  };
  CHECK(fault_of(1, 1, [](float* to) { to[0] = 1; }, total.data) == "");
  CHECK(fault_of(1, 1, [](float* to) { to[1] = to[0]; }, total.data) == "");
  CHECK(contains(fault_of(2, 1, one_writes, total.data), "block (1, 0, 0)"));
  CHECK(contains(fault_of(2, 1, [](float* to) { to[0] = 1; }, total.data), "another block wrote"));
  const auto last_writes = [](float* to) {
    if (*to >= 0 && blockIdx.x == 2) *to = 1;
  };
  CHECK(contains(fault_of(3, 1, last_writes, total.data), "another block reads"));
  CHECK(fault_of(2, 1, [](float* to) { atomicAdd(to, 1.0f); }, total.data) == "");
}

TEST_CASE("an asynchronous copy writes until it is waited for", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const Values<float> from(std::vector<float>(4, 1.0f)), to(4);
  const auto copied = [&](auto between, unsigned threads = 1) {
    return fault_of(1, threads, [=](const float* source, float* target) {
      if (threadIdx.x == 0) kernels::ptx::copy_async(shared_values(), source, true);
      kernels::ptx::commit_copies();
      between(target);
    }, static_cast<const float*>(from.data), to.data);
  };
  const auto wait = [] { kernels::ptx::wait_for_copies<0>(); };
  const auto read = [](float* target) { target[threadIdx.x] = shared_values()[0]; };
  CHECK(copied([=](float* target) { wait(), read(target); }) == "");
  CHECK(contains(copied([=](float* target) { read(target), wait(); }), "by an asynchronous copy"));
  CHECK(contains(copied([=](float* target) { __syncthreads(), read(target), wait(); }), "by an asynchronous copy"));
  CHECK(contains(copied([=](float*) { __syncthreads(), shared_values()[0] = 2, wait(); }), "by an asynchronous copy"));
  CHECK(contains(copied([=](float* target) { wait(), read(target); }, 2), "nothing orders"));
  CHECK(copied([=](float* target) { wait(), __syncthreads(), read(target); }, 2) == "");
}

TEST_CASE("addresses that no allocation holds", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const Values<float> x(std::vector<float>(7, 1.0f)), to(4);
  const auto read = [](const float* from, float* target) { *target = *from; };
  const auto fault = [&](auto body, std::ptrdiff_t offset) {
    const float* const begin = x.data;
    return fault_of(1, 1, [=](const float* from, float* target) { body(from + offset, target); }, begin, to.data);
  };
  CHECK(fault(read, 6) == "");
  CHECK(contains(fault(read, 7), "no allocation holds"));
  CHECK(contains(fault(read, -1), "no allocation holds"));
  const auto read_two = [](const float* from, float* target) {
    const float2 pair = *reinterpret_cast<const float2*>(from);
    *target = pair.x + pair.y;
  };
  CHECK(fault(read_two, 4) == "");
  CHECK(contains(fault(read_two, 6), "no allocation holds"));
  CHECK(fault_of(1, 1, [](float* target) { *target = shared_values()[1023]; }, to.data) == "");
  CHECK(contains(fault_of(1, 1, [](float* target) { *target = shared_values()[1024]; }, to.data), "no allocation holds"));
}
