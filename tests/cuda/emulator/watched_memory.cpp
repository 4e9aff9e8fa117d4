// Blocks of the range of addresses that is watched.
#ifdef ASHLAR_EMULATED_WATCH

#include "tests/cuda/emulator/watched_memory.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/error.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated::watch {
namespace {

// A mapping that takes memory only where it is touched, and is zero there.
template <class T>
T* reserve(std::size_t count) {
  void* const at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw Error("emulator: the system refuses the address space that watching takes");
  return static_cast<T*>(at);
}

// What says how much of a block may be touched, from its first granule on.
std::uint16_t* allowed_of(void* data) {
  return arena().allowed + (static_cast<unsigned char*>(data) - arena().begin) / kGranule;
}

}  // namespace

Arena::Arena()
    : begin(reserve<unsigned char>(kArena)), cells(reserve<Cell>(kArena)), allowed(reserve<std::uint16_t>(kArena / kGranule)) {}

void* take(std::size_t, std::size_t bytes) {
  Arena& device = arena();
  const std::lock_guard lock(device.mutex);
  void* data = nullptr;
  if (const auto same = device.free.find(bytes); same != device.free.end()) {
    data = same->second;
    device.free.erase(same);
  } else {
    if (bytes > kArena - device.used) return nullptr;
    data = device.begin + device.used;
    device.used += bytes;
  }
  device.blocks[data] = bytes;
  return data;
}
void give_back(void* data) {
  Arena& device = arena();
  const std::lock_guard lock(device.mutex);
  const auto block = device.blocks.find(data);
  std::fill_n(allowed_of(data), block->second / kGranule, std::uint16_t{0});
  device.free.emplace(block->second, data);
  device.blocks.erase(block);
}
void allow(void* data, std::size_t bytes) {
  std::uint16_t* granule = allowed_of(data);
  for (std::size_t done = 0; done < bytes; done += kGranule) {
    *granule++ = static_cast<std::uint16_t>(std::min(kGranule, bytes - done));
  }
}

}  // namespace ashlar::emulated::watch

#endif
