// The compiler calls __tsan_read4 and its like before every access of the sources that are compiled with -fsanitize=thread.
// Its own library, ThreadSanitizer, is not linked: the functions are these, which know the threads of a GPU.
#include "tests/cuda/emulator/watch.h"

#ifdef ASHLAR_EMULATED_WATCH

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/cuda/emulator/address_range.h"
#include "tests/cuda/emulator/traffic.h"
#include "tests/cuda/emulator/watched_memory.h"

extern "C" const char __executable_start;  // by the linker

namespace ashlar::emulated::watch {
namespace {

constexpr unsigned kLanes = 32;

// Blocks run one after another in this build.
struct Shared {
  Address begin = 0;
  std::size_t bytes = 0;
  std::vector<Cell> cells;

  void begin_block(Range range) {
    begin = reinterpret_cast<Address>(range.begin);
    bytes = range.bytes;
    if (cells.size() < bytes) cells.resize(bytes);
  }
};
bool inside = false;
std::uint32_t now = 0, block_begin = 0, launch_begin = 0;
std::uint16_t thread = 0, warp_barriers = 0;
Shared shared[2];
std::string seen;

}  // namespace

std::string place(std::uint32_t code) {
  char command[128];
  std::snprintf(command, sizeof command, "addr2line -s -i -e /proc/%d/exe 0x%x", static_cast<int>(getpid()), code);
  std::string lines;
  if (std::FILE* const output = popen(command, "r")) {
    char line[512];
    while (std::fgets(line, sizeof line, output)) {
      if (!lines.empty()) lines += " from ";
      lines.append(line, std::strcspn(line, " \n"));
    }
    pclose(output);
  }
  return lines;
}

namespace {

template <class... Parts>
void tell(std::uint32_t code, const Parts&... parts) {
  if (seen.empty()) seen = concat(place(code), ": ", parts...);
}

// Whether all who did it are lanes of the current thread's warp.
bool in_own_warp(const Access& before) {
  return !(before.thread & kManyWarps) && number(before) / kLanes == thread / kLanes;
}
// Whether nothing orders `before`, of the same interval, and what the current thread does now.
bool unordered(const Access& before) {
  if (in_own_warp(before) && before.warp_barriers < warp_barriers) return false;
  return (before.thread & ~kOtherBlocks) != thread;
}
bool races(const Access& before, std::uint32_t ordered_before) {
  if (before.interval < ordered_before) return false;
  if (before.interval < block_begin || (before.thread & (kOtherBlocks | kAsynchronous))) return true;
  return before.interval == now && unordered(before);
}

void tell_race(const Access& before, const char* did, std::uint32_t code, const char* does) {
  if (!seen.empty()) return;
  const std::string who = before.interval < block_begin || (before.thread & kOtherBlocks) ? "another block"
                          : before.thread & kManyWarps ? "other warps"
                          : before.thread & kOneWarp   ? "other lanes of a warp"
                                                       : concat("thread ", number(before));
  const char* const how = before.thread & kAsynchronous ? " by an asynchronous copy" : "";
  tell(code, "thread ", thread, " ", does, " what ", who, " ", did, how, " at ", place(before.code),
       ", and nothing orders the two");
}

void note_read(Cell& cell, std::uint32_t code, std::uint32_t ordered_before) {
  if (races(cell.written, ordered_before)) tell_race(cell.written, "wrote", code, "reads");
  const Access before = cell.read;
  cell.read = {now, code, thread, warp_barriers};
  if (before.interval < ordered_before) return;
  std::uint16_t marks = before.thread & kOtherBlocks;
  if (before.interval < block_begin) marks |= kOtherBlocks;
  if (before.interval == now && unordered(before)) marks |= in_own_warp(before) ? kOneWarp : kManyWarps;
  cell.read.thread |= marks;
}

void note_write(Cell& cell, std::uint32_t code, std::uint32_t ordered_before, std::uint16_t by) {
  if (races(cell.written, ordered_before)) tell_race(cell.written, "wrote", code, "writes");
  if (races(cell.read, ordered_before)) tell_race(cell.read, "reads", code, "writes");
  cell.written = {now, code, by, warp_barriers};
}

// The cells of what is accessed, none if it is not watched.
struct Watched {
  std::span<Cell> cells;
  std::uint32_t ordered_before;  // accesses before this interval
  bool shared = false;
};
Watched find(const void* at, std::size_t bytes, std::uint32_t code) {
  const auto address = reinterpret_cast<Address>(at);
  const auto refused = [&]() -> Watched {
    tell(code, "thread ", thread, " touches memory that no allocation holds");
    return {};
  };
  for (Shared& memory : shared) {
    const std::size_t first = address - memory.begin, end = first + bytes;
    if (first >= memory.bytes + kGranule) continue;  // neither in it nor right behind
    if (end > memory.bytes) return refused();
    return {{memory.cells.data() + first, bytes}, block_begin, true};
  }
  const Shadow& known = shadow();
  const std::size_t first = address - reinterpret_cast<Address>(device_range().begin()), last = first + bytes - 1;
  if (first >= AddressRange::kBytes) return {};
  const auto allowed = [&](std::size_t byte) { return byte % kGranule < known.allowed[byte / kGranule]; };
  if (!allowed(first) || !allowed(last)) return refused();
  return {{known.cells + first, bytes}, launch_begin};
}

void count(const Watched& watched, bool writes, const void* at, std::size_t bytes, std::uint32_t code) {
  if (!traffic::counting() || watched.cells.empty()) return;
  std::size_t fresh = 0;
  if (!watched.shared) {
    for (const Cell& cell : watched.cells) {
      fresh += writes ? cell.written.interval < launch_begin
                      : cell.written.interval < launch_begin && cell.read.interval < launch_begin;
    }
  }
  traffic::note({thread, code, writes, watched.shared, reinterpret_cast<Address>(at), bytes, fresh});
}

void on_read(const void* at, std::size_t bytes, std::uint32_t code) {
  if (!inside) return;
  const Watched watched = find(at, bytes, code);
  count(watched, false, at, bytes, code);
  for (Cell& cell : watched.cells) note_read(cell, code, watched.ordered_before);
}
void on_write(const void* at, std::size_t bytes, std::uint32_t code) {
  if (!inside) return;
  const Watched watched = find(at, bytes, code);
  count(watched, true, at, bytes, code);
  for (Cell& cell : watched.cells) note_write(cell, code, watched.ordered_before, thread);
}

// The place of the call that returns to `instruction`.
std::uint32_t code_of(const void* instruction) {
  const auto program = reinterpret_cast<Address>(&__executable_start);
  return static_cast<std::uint32_t>(reinterpret_cast<Address>(instruction) - 1 - program);
}

}  // namespace

void begin_launch(const char* kernel) {
  launch_begin = ++now;
  if (traffic::counting()) traffic::begin_launch(kernel);
}
void begin_block(Range dynamic_shared, Range static_shared) {
  block_begin = ++now;
  shared[0].begin_block(dynamic_shared);
  shared[1].begin_block(static_shared);
  seen.clear();
  inside = true;
}
void end_block() {
  inside = false;
  traffic::end_block();
}
void check() {
  if (!seen.empty()) throw Error(seen);
}
void next_thread(std::size_t position, unsigned barriers) {
  thread = static_cast<std::uint16_t>(position);
  warp_barriers = static_cast<std::uint16_t>(barriers);
}
void barrier() { ++now; }

void read(const void* at, std::size_t bytes) { on_read(at, bytes, code_of(__builtin_return_address(0))); }
void begin_copy(const void* to, std::size_t bytes) {
  const std::uint32_t code = code_of(__builtin_return_address(0));
  const auto by = static_cast<std::uint16_t>(thread | kAsynchronous);
  const Watched watched = find(to, bytes, code);
  count(watched, true, to, bytes, code);
  for (Cell& cell : watched.cells) note_write(cell, code, watched.ordered_before, by);
}
void end_copy(const void* to, std::size_t bytes) {
  const std::uint32_t code = code_of(__builtin_return_address(0));
  for (Cell& cell : find(to, bytes, code).cells) cell.written = {now, code, thread, warp_barriers};
}

}  // namespace ashlar::emulated::watch

// The calls that the compiler makes. Those for atomic accesses, which host code has too, replace what they stand before.
#define ASHLAR_CODE code_of(__builtin_return_address(0))
#define ASHLAR_WATCHED(bytes)                                                            \
  void __tsan_read##bytes(void* at) { on_read(at, bytes, ASHLAR_CODE); }                 \
  void __tsan_write##bytes(void* at) { on_write(at, bytes, ASHLAR_CODE); }               \
  void __tsan_unaligned_read##bytes(void* at) { on_read(at, bytes, ASHLAR_CODE); }       \
  void __tsan_unaligned_write##bytes(void* at) { on_write(at, bytes, ASHLAR_CODE); }

#define ASHLAR_ATOMIC(bits)                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_load(const volatile std::uint##bits##_t* at, int) {              \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                            \
  }                                                                                                          \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile std::uint##bits##_t* at, std::uint##bits##_t added, int) { \
    return __atomic_fetch_add(at, added, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                          \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile std::uint##bits##_t* at, std::uint##bits##_t* expected,       \
                                                   std::uint##bits##_t wanted, int, int) {                   \
    return __atomic_compare_exchange_n(at, expected, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }

using namespace ashlar::emulated::watch;
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
void __tsan_read_range(void* at, std::size_t bytes) { on_read(at, bytes, ASHLAR_CODE); }
void __tsan_write_range(void* at, std::size_t bytes) { on_write(at, bytes, ASHLAR_CODE); }
ASHLAR_WATCHED(1)
ASHLAR_WATCHED(2)
ASHLAR_WATCHED(4)
ASHLAR_WATCHED(8)
ASHLAR_WATCHED(16)
ASHLAR_ATOMIC(8)
ASHLAR_ATOMIC(32)
ASHLAR_ATOMIC(64)
}

#endif
